//! Which manifests lead to what, and what of it is not there.
//!
//! Nothing here recurses: an index may list one that lists another, as deep as somebody likes.

use std::collections::{BTreeSet, HashMap};

use oci::{Digest, Edge, EdgeKind};

/// What an image consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Its configurations, layers and other blobs that are there, each once.
    pub blobs: Vec<Digest>,
    /// Its manifests that are there: each behind those that it lists, the image's own the last.
    pub manifests: Vec<Digest>,
}

/// The manifests of all sources, by what they name.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: HashMap<Digest, Vec<Edge>>,
    /// What a source holds.
    present: BTreeSet<Digest>,
    /// Manifests that the index of a layout says are there.
    promised: BTreeSet<Digest>,
    faults: Faults,
    whole: BTreeSet<Digest>,
}

/// What is there and cannot be used.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Whose bytes are others than the digest says.
    pub(crate) corrupt: BTreeSet<Digest>,
    /// What is no manifest that a registry takes, and may well be a blob.
    pub(crate) refused: BTreeSet<Digest>,
}

impl Faults {
    /// Whether something cannot be what an edge of this kind names.
    fn concern(&self, kind: EdgeKind, child: &Digest) -> bool {
        match kind {
            EdgeKind::Config | EdgeKind::Layer | EdgeKind::Blob => self.corrupt.contains(child),
            EdgeKind::Child => self.corrupt.contains(child) || self.refused.contains(child),
            EdgeKind::ForeignLayer | EdgeKind::Subject => false,
        }
    }
}

/// What hurts one image.
#[derive(Debug, Default)]
pub(crate) struct Hurt {
    /// What nobody holds, and whether it is a manifest.
    pub(crate) missing: BTreeSet<(Digest, bool)>,
    /// What is there and cannot be used.
    pub(crate) faulty: BTreeSet<Digest>,
}

impl Graph {
    pub(crate) fn new(
        nodes: HashMap<Digest, Vec<Edge>>,
        present: BTreeSet<Digest>,
        promised: BTreeSet<Digest>,
        faults: Faults,
    ) -> Self {
        let mut graph = Self { nodes, present, promised, faults, whole: BTreeSet::new() };
        let (mut seen, mut steps) = (BTreeSet::new(), usize::MAX);
        let roots: Vec<Digest> = graph.nodes.keys().copied().collect();
        for root in roots {
            for manifest in graph.in_order(root, &mut seen, &|_| false, &mut steps) {
                if graph.is_whole_by_edges(&manifest) {
                    graph.whole.insert(manifest);
                }
            }
        }
        graph
    }

    /// Whether this is a manifest, and everything is there that it needs.
    pub(crate) fn is_whole(&self, image: &Digest) -> bool {
        self.whole.contains(image)
    }

    pub(crate) fn edges(&self, manifest: &Digest) -> &[Edge] {
        self.nodes.get(manifest).map_or(&[], Vec::as_slice)
    }

    /// What an image consists of, without the manifests that are known, and without what only these
    /// lead to.
    pub(crate) fn parts(&self, image: &Digest, is_known: &dyn Fn(&Digest) -> bool) -> Parts {
        let mut steps = usize::MAX;
        self.counted_parts(image, is_known, &mut steps)
    }

    fn counted_parts(
        &self,
        image: &Digest,
        is_known: &dyn Fn(&Digest) -> bool,
        steps: &mut usize,
    ) -> Parts {
        let manifests = self.in_order(*image, &mut BTreeSet::new(), is_known, steps);
        let (mut blobs, mut seen) = (Vec::new(), BTreeSet::new());
        for edge in manifests.iter().flat_map(|manifest| self.edges(manifest)) {
            // What an index lists may be a blob.
            let is_blob = edge.kind != EdgeKind::Subject && !self.nodes.contains_key(&edge.child);
            if is_blob && self.present.contains(&edge.child) && seen.insert(edge.child) {
                blobs.push(edge.child);
            }
        }
        Parts { blobs, manifests }
    }

    /// The manifests of an image. It takes of the steps that are left for all images together, and
    /// may end early when there are none.
    pub(crate) fn parts_within(&self, image: &Digest, steps: &mut usize) -> Vec<Digest> {
        self.in_order(*image, &mut BTreeSet::new(), &|_| false, steps)
    }

    /// What an image lacks. It takes of the steps that are left for all images together, and may
    /// end early when there are none.
    pub(crate) fn hurt(&self, image: &Digest, steps: &mut usize) -> Hurt {
        let mut hurt = Hurt::default();
        if !self.present.contains(image) {
            hurt.missing.insert((*image, true));
            return hurt;
        }
        let (mut open, mut seen) = (vec![*image], BTreeSet::from([*image]));
        while let Some(manifest) = open.pop() {
            if !self.nodes.contains_key(&manifest) {
                hurt.faulty.insert(manifest);
            }
            for edge in self.edges(&manifest) {
                *steps = steps.saturating_sub(1);
                if *steps == 0 {
                    return hurt;
                }
                let child = edge.child;
                let is_child = edge.kind == EdgeKind::Child;
                if self.is_missing(edge) {
                    hurt.missing.insert((child, is_child));
                } else if self.faults.concern(edge.kind, &child) {
                    hurt.faulty.insert(child);
                } else if is_child
                    && self.nodes.contains_key(&child)
                    && !self.whole.contains(&child)
                    && seen.insert(child)
                {
                    open.push(child);
                }
            }
        }
        hurt
    }

    /// The manifests below this one that were not seen yet and are not known, and itself, each
    /// behind those that it lists.
    fn in_order(
        &self,
        root: Digest,
        seen: &mut BTreeSet<Digest>,
        is_known: &dyn Fn(&Digest) -> bool,
        steps: &mut usize,
    ) -> Vec<Digest> {
        let mut ordered = Vec::new();
        if !self.nodes.contains_key(&root) || is_known(&root) || !seen.insert(root) {
            return ordered;
        }
        let mut open = vec![(root, 0)];
        while let Some((manifest, next)) = open.pop() {
            *steps = steps.saturating_sub(1);
            if *steps == 0 {
                return ordered;
            }
            match self.edges(&manifest).get(next) {
                None => ordered.push(manifest),
                Some(edge) => {
                    open.push((manifest, next + 1));
                    let is_listed =
                        edge.kind == EdgeKind::Child && self.nodes.contains_key(&edge.child);
                    if is_listed && !is_known(&edge.child) && seen.insert(edge.child) {
                        open.push((edge.child, 0));
                    }
                }
            }
        }
        ordered
    }

    /// Whether something is not there that should be. What an index lists may be left away, unless
    /// it is said to be there.
    fn is_missing(&self, edge: &Edge) -> bool {
        let is_needed = match edge.kind {
            EdgeKind::Child => self.promised.contains(&edge.child),
            kind => kind.is_required_blob(),
        };
        is_needed && !self.present.contains(&edge.child)
    }

    /// Whether nothing is missing, given that this is known of what the manifest lists.
    fn is_whole_by_edges(&self, manifest: &Digest) -> bool {
        self.edges(manifest).iter().all(|edge| {
            let is_broken = edge.kind == EdgeKind::Child
                && self.nodes.contains_key(&edge.child)
                && !self.whole.contains(&edge.child);
            !self.is_missing(edge) && !is_broken && !self.faults.concern(edge.kind, &edge.child)
        })
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::of(Algorithm::Sha256, name.as_bytes())
    }

    fn graph(nodes: &[(&str, &[(EdgeKind, &str)])], present: &[&str], corrupt: &[&str]) -> Graph {
        let edges = |edges: &[(EdgeKind, &str)]| {
            edges.iter().map(|(kind, child)| Edge { kind: *kind, child: digest(child) }).collect()
        };
        let all = present.iter().copied().chain(nodes.iter().map(|(name, _)| *name));
        Graph::new(
            nodes.iter().map(|(name, named)| (digest(name), edges(named))).collect(),
            all.map(digest).collect(),
            BTreeSet::from([digest("promised")]),
            Faults {
                corrupt: corrupt.iter().copied().map(digest).collect(),
                refused: BTreeSet::new(),
            },
        )
    }

    #[test]
    fn what_is_missing_hurts_whoever_leads_to_it() {
        use EdgeKind::{Child, Config, ForeignLayer, Layer, Subject};
        let graph = graph(
            &[
                ("index", &[(Child, "a"), (Child, "b"), (Child, "sparse"), (Child, "blob")]),
                ("a", &[(Config, "config"), (Layer, "layer")]),
                ("b", &[(Config, "config"), (Layer, "gone"), (ForeignLayer, "foreign")]),
                ("said", &[(Child, "a"), (Child, "promised")]),
                ("referrer", &[(Config, "config"), (Subject, "nobody")]),
            ],
            &["config", "layer", "blob"],
            &[],
        );
        let whole = |name| graph.is_whole(&digest(name));
        assert!(whole("a") && whole("referrer") && !whole("b") && !whole("index"));
        assert!(!whole("layer"));
        let hurt = graph.hurt(&digest("index"), &mut 100);
        assert_eq!(hurt.missing, BTreeSet::from([(digest("gone"), false)]));
        let hurt = graph.hurt(&digest("said"), &mut 100);
        assert_eq!(hurt.missing, BTreeSet::from([(digest("promised"), true)]));
        let hurt = graph.hurt(&digest("nobody"), &mut 100);
        assert_eq!(hurt.missing, BTreeSet::from([(digest("nobody"), true)]));
        assert_eq!(graph.hurt(&digest("layer"), &mut 100).faulty, [digest("layer")].into());
        let parts = graph.parts(&digest("index"), &|_| false);
        assert_eq!(parts.manifests, ["a", "b", "index"].map(digest));
        assert_eq!(parts.blobs, ["config", "layer", "blob"].map(digest));
        let parts = graph.parts(&digest("index"), &|it| *it == digest("b"));
        assert_eq!(parts.manifests, ["a", "index"].map(digest));
        assert_eq!(graph.parts(&digest("a"), &|_| true), Parts::default());
    }

    #[test]
    fn a_chain_of_any_length_is_walked() {
        let names: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
        let mut nodes = HashMap::new();
        for pair in names.windows(2) {
            let edge = Edge { kind: EdgeKind::Child, child: digest(&pair[1]) };
            nodes.insert(digest(&pair[0]), vec![edge]);
        }
        let last = digest(&names[names.len() - 1]);
        nodes.insert(last, vec![Edge { kind: EdgeKind::Layer, child: digest("gone") }]);
        let present = nodes.keys().copied().collect();
        let graph = Graph::new(nodes, present, BTreeSet::new(), Faults::default());
        assert!(!graph.is_whole(&digest("0")));
        assert_eq!(graph.parts(&digest("0"), &|_| false).manifests.len(), names.len());
        let mut steps = 200_000;
        assert_eq!(graph.hurt(&digest("0"), &mut steps).missing.len(), 1);
        assert_eq!(graph.hurt(&digest("0"), &mut 10).missing.len(), 0);
    }

    #[test]
    fn each_of_ten_thousand_images_that_list_one_another_is_walked_once() {
        let names: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
        let mut nodes = HashMap::new();
        for (place, name) in names.iter().enumerate() {
            let child = |name: &String| Edge { kind: EdgeKind::Child, child: digest(name) };
            nodes.insert(digest(name), names[..place].iter().rev().take(3).map(child).collect());
        }
        let edges: usize = nodes.values().map(|edges: &Vec<Edge>| edges.len()).sum();
        let present = nodes.keys().copied().collect();
        let graph = Graph::new(nodes, present, BTreeSet::new(), Faults::default());
        let (mut known, mut steps) = (BTreeSet::new(), usize::MAX);
        for name in &names {
            let parts = graph.counted_parts(&digest(name), &|it| known.contains(it), &mut steps);
            assert_eq!(parts.manifests, [digest(name)]);
            known.extend(parts.manifests);
        }
        assert_eq!(usize::MAX - steps, edges + names.len());
    }
}
