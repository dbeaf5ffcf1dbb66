//! Somebody between a client and a registry who changes manifests on their way: real clients push
//! nothing odd by themselves, and how they take a refusal is theirs to show.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::http::{Client, Response};

/// A push of a manifest: its type and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Push {
    /// `Content-Type`.
    pub(crate) kind: String,
    /// The body.
    pub(crate) body: String,
}

/// What is done to a manifest.
pub(crate) type Change = fn(&Push) -> Push;

/// A registry over plain HTTP that hands everything on to another one, with a login, and changes
/// manifests that are pushed. It lives as long as the tests.
pub(crate) struct Between {
    port: u16,
    pushes: Arc<Mutex<Vec<(Push, u16)>>>,
}

impl Between {
    /// Stands before the registry of this client.
    pub(crate) fn before(client: &Client, change: Change) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let pushes = Arc::new(Mutex::new(Vec::new()));
        let (client, noted) = (Arc::new(client.again()), Arc::clone(&pushes));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (client, noted) = (Arc::clone(&client), Arc::clone(&noted));
                // A client that goes away ends its connection in any state.
                thread::spawn(move || serve(&stream, &client, change, &noted));
            }
        });
        Self { port, pushes }
    }

    /// Its address and port, as image names begin.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The manifests that came, as they came, and how they were answered.
    pub(crate) fn pushes(&self) -> Vec<(Push, u16)> {
        self.pushes.lock().expect("no panic").clone()
    }
}

fn serve(
    stream: &TcpStream,
    client: &Client,
    change: Change,
    noted: &Mutex<Vec<(Push, u16)>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let head = lines(&mut reader)?;
        let mut words = head.first()?.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let header = |name: &str| {
            let mut pairs = head.iter().skip(1).filter_map(|line| line.split_once(':'));
            let own = pairs.find(|(own, _)| own.eq_ignore_ascii_case(name));
            own.map(|(_, value)| value.trim().to_owned())
        };
        let body = match header("content-length") {
            Some(length) => {
                let mut body = vec![0; length.parse().ok()?];
                reader.read_exact(&mut body).ok()?;
                body
            }
            None if header("transfer-encoding").is_some() => chunks(&mut reader)?,
            None => Vec::new(),
        };
        let kind = header("content-type").unwrap_or_default();
        let is_push = method == "PUT" && path.contains("/manifests/");
        let came = Push { kind, body: String::from_utf8_lossy(&body).into_owned() };
        let (kind, body) = match is_push {
            true => {
                let Push { kind, body } = change(&came);
                (kind, body.into_bytes())
            }
            false => (came.kind.clone(), body),
        };
        let own = [("Content-Type", kind.as_str())];
        let headers = if kind.is_empty() { &[][..] } else { &own };
        let response = client.request(&method, &path, headers, &body);
        if is_push {
            noted.lock().ok()?.push((came, response.status));
        }
        answer(stream, &response)?;
    }
}

/// The lines of a head, without its empty line.
fn lines(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => return Some(lines),
            text => lines.push(text.to_owned()),
        }
    }
}

fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = u64::from_str_radix(line.trim_end(), 16).ok()?;
        reader.by_ref().take(length).read_to_end(&mut body).ok()?;
        reader.read_line(&mut line).ok()?;
        if length == 0 {
            return Some(body);
        }
    }
}

fn answer(mut stream: &TcpStream, response: &Response) -> Option<()> {
    let mut text = format!("HTTP/1.1 {} {}\r\n", response.status, response.reason);
    for (name, value) in &response.headers {
        text += &format!("{name}: {value}\r\n");
    }
    let whole = [text.as_bytes(), b"\r\n", &response.body].concat();
    stream.write_all(&whole).ok()
}
