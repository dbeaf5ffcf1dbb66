//! What is to be imported under which name. Nothing here reads or asks anything.

use std::collections::{BTreeMap, HashMap};

use archive::{Contents, NamedImage};
use oci::{Digest, ImageName, Reference, RepoName, Tag};

/// How images are named that come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naming {
    /// What is put before each repository.
    pub(crate) prefix: Option<RepoName>,
    /// The repository of images for which the source says none.
    pub(crate) repository: Option<RepoName>,
}

impl Naming {
    /// Where an image is to be.
    fn place_of(&self, image: &NamedImage) -> Result<RepoName, String> {
        let own = image.repository.as_ref().or(self.repository.as_ref()).or(image.stem.as_ref());
        let own = own.ok_or("the source says no repository: name one with --repository")?;
        let Some(prefix) = &self.prefix else { return Ok(own.clone()) };
        let path = format!("{prefix}/{own}");
        path.parse().map_err(|error| format!("{path} cannot be a repository: {error}"))
    }
}

/// An image that is to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedImage {
    pub(super) repository: RepoName,
    /// The tags that are to name it.
    pub(super) tags: Vec<Tag>,
    pub(super) digest: Digest,
}

impl PlannedImage {
    /// What it is called: by its tags, or by its digest if it has none.
    pub(super) fn names(&self) -> Vec<ImageName> {
        let of = |reference| ImageName::new(self.repository.clone(), Some(reference));
        match self.tags.as_slice() {
            [] => vec![of(Reference::Digest(self.digest))],
            tags => tags.iter().map(|tag| of(Reference::Tag(tag.clone()))).collect(),
        }
    }
}

/// Something that a source names and that is not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unnamed {
    /// What the source calls it.
    pub(super) image: String,
    /// Why not.
    pub(super) why: String,
}

/// What is to be imported, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) images: Vec<PlannedImage>,
    /// What has no name here that it could be imported under.
    pub(super) unnamed: Vec<Unnamed>,
    /// Which image of the plan each image of the contents became.
    pub(super) places: Vec<Option<usize>>,
}

impl Plan {
    /// What the contents are to become.
    pub(super) fn of(contents: &Contents, naming: &Naming) -> Self {
        Self::of_images(contents.images(), naming)
    }

    fn of_images(named: &[NamedImage], naming: &Naming) -> Self {
        let mut plan = Self::default();
        let mut images: HashMap<(RepoName, Digest), usize> = HashMap::new();
        let mut tags: BTreeMap<(RepoName, Tag), Digest> = BTreeMap::new();
        for image in named {
            let repository = match plan_place(image, naming, &mut tags) {
                Ok(repository) => repository,
                Err(why) => {
                    plan.unnamed.push(Unnamed { image: called(image), why });
                    plan.places.push(None);
                    continue;
                }
            };
            let place = *images.entry((repository.clone(), image.digest)).or_insert_with(|| {
                let (tags, digest) = (Vec::new(), image.digest);
                plan.images.push(PlannedImage { repository, tags, digest });
                plan.images.len() - 1
            });
            if let (Some(planned), Some(tag)) = (plan.images.get_mut(place), &image.tag)
                && !planned.tags.contains(tag)
            {
                planned.tags.push(tag.clone());
            }
            plan.places.push(Some(place));
        }
        plan
    }
}

/// The repository of an image, unless its tag stands for another one there.
fn plan_place(
    image: &NamedImage,
    naming: &Naming,
    tags: &mut BTreeMap<(RepoName, Tag), Digest>,
) -> Result<RepoName, String> {
    let repository = naming.place_of(image)?;
    let Some(tag) = &image.tag else { return Ok(repository) };
    let named = tags.entry((repository.clone(), tag.clone())).or_insert(image.digest);
    match *named == image.digest {
        true => Ok(repository),
        false => Err(format!(
            "{repository}:{tag} is {named} already: import the two one after the other, or give \
             one another place with --prefix or --repository"
        )),
    }
}

/// What a source calls an image, as far as it does.
fn called(image: &NamedImage) -> String {
    let NamedImage { repository, tag, digest, .. } = image;
    match (repository, tag) {
        (Some(repository), Some(tag)) => format!("{repository}:{tag} ({digest})"),
        (Some(repository), None) => format!("{repository}@{digest}"),
        (None, Some(tag)) => format!("{tag} ({digest})"),
        (None, None) => digest.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    fn image(repository: &str, stem: &str, tag: &str, content: &str) -> NamedImage {
        let name = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        NamedImage {
            source: 0,
            repository: name(repository),
            stem: name(stem),
            tag: (!tag.is_empty()).then(|| tag.parse().unwrap()),
            digest: Digest::of(Algorithm::Sha256, content.as_bytes()),
        }
    }

    fn plan(images: &[NamedImage], naming: &Naming) -> (Vec<String>, Vec<String>) {
        let plan = Plan::of_images(images, naming);
        assert_eq!(plan.places.len(), images.len());
        let names = |image: &PlannedImage| {
            image.names().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let unnamed = plan.unnamed.into_iter().map(|image| image.why).collect();
        (plan.images.iter().map(names).collect(), unnamed)
    }

    #[test]
    fn an_image_is_called_as_its_source_says_and_else_as_it_is_told() {
        let naming = |prefix: &str, repository: &str| Naming {
            prefix: prefix.parse().ok(),
            repository: repository.parse().ok(),
        };
        let [own, unnamed] = [image("a/b", "stem", "1", "x"), image("", "stem", "1", "y")];
        for (naming, first, second) in [
            (naming("", ""), "a/b:1", "stem:1"),
            (naming("", "c"), "a/b:1", "c:1"),
            (naming("p/q", ""), "p/q/a/b:1", "p/q/stem:1"),
            (naming("p", "c"), "p/a/b:1", "p/c:1"),
        ] {
            let planned = plan(&[own.clone(), unnamed.clone()], &naming);
            assert_eq!(planned, (vec![first.to_owned(), second.to_owned()], Vec::new()));
        }
        let (planned, left) = plan(&[image("", "", "1", "x")], &Naming::default());
        assert_eq!(planned, Vec::<String>::new());
        assert_eq!(left, ["the source says no repository: name one with --repository"]);
    }

    #[test]
    fn names_of_one_image_come_together_and_no_tag_stands_for_two() {
        let images = [
            image("a", "", "1", "x"),
            image("b", "", "1", "y"),
            image("a", "", "", "x"),
            image("a", "", "2", "x"),
            image("a", "", "1", "y"),
            image("c", "", "", "z"),
        ];
        let (planned, left) = plan(&images, &Naming::default());
        let z = Digest::of(Algorithm::Sha256, b"z");
        assert_eq!(planned, ["a:1 a:2".to_owned(), "b:1".to_owned(), format!("c@{z}")]);
        let [why] = left.as_slice() else { panic!("{left:?}") };
        assert!(why.starts_with("a:1 is sha256:"), "{why}");
    }
}
