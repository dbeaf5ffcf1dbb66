//! What people type, and what becomes of it.

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<String, NameError> {
    text.parse::<ServerName>().map(|name| name.to_string())
}

#[test]
fn names_and_addresses_are_taken_in_their_usual_spellings() {
    for (text, expected) in [
        ("registry.example.com", "registry.example.com"),
        ("Registry.EXAMPLE.com.", "registry.example.com"),
        ("localhost", "localhost"),
        ("my_host-1.lab", "my_host-1.lab"),
        ("_x.lab", "_x.lab"),
        ("1und1.de", "1und1.de"),
        ("4.example", "4.example"),
        ("10.0.0.5", "10.0.0.5"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("2001:DB8:0:0::5", "2001:db8::5"),
        ("[2001:db8::5]", "2001:db8::5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
    ] {
        assert_eq!(parsed(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_name_is_refused_with_its_reason() {
    let long_label = "a".repeat(64);
    let long_name = [&"a".repeat(63) as &str; 4].join(".");
    for (text, expected) in [
        ("", NameError::Empty),
        (".", NameError::Empty),
        ("a..b", NameError::Label),
        (".a", NameError::Label),
        ("-a.example", NameError::Label),
        ("a-.example", NameError::Label),
        (&long_label, NameError::Label),
        (&long_name, NameError::TooLong),
        ("*.example.com", NameError::Wildcard),
        ("a*.example.com", NameError::Wildcard),
        ("a b", NameError::Character(' ')),
        ("bücher.example", NameError::Character('ü')),
        ("https://a.example", NameError::Character('/')),
        ("a.example/v2", NameError::Character('/')),
        ("a.example:8443", NameError::Port),
        ("10.0.0.5:8443", NameError::Port),
        ("[::1]:8443", NameError::Address),
        ("10.0.0.256", NameError::Address),
        ("010.0.0.1", NameError::Address),
        ("10.0.0", NameError::Address),
        ("[10.0.0.5]", NameError::Address),
        ("[::1", NameError::Address),
        ("2001:db8::g", NameError::Address),
        ("fe80::1%eth0", NameError::Zone),
        ("[fe80::1%eth0]", NameError::Zone),
        ("0.0.0.0", NameError::NoHost),
        ("::", NameError::NoHost),
        ("224.0.0.1", NameError::NoHost),
    ] {
        assert_eq!(parsed(text), Err(expected), "{text}");
    }
}

#[test]
fn the_longest_names_are_taken() {
    let label = "a".repeat(63);
    let name = [&label as &str, &label, &label, &"b".repeat(61)].join(".");
    assert_eq!(name.len(), ServerName::MAX_BYTES);
    assert_eq!(parsed(&name), Ok(name));
}

#[test]
fn a_port_is_split_off_where_one_is_allowed() {
    let split =
        |text: &str| ServerName::from_host_port(text).map(|(name, port)| (name.to_string(), port));
    for (text, host, port) in [
        ("quay.example:8443", "quay.example", Some(8443)),
        ("quay.example", "quay.example", None),
        ("10.0.0.5:443", "10.0.0.5", Some(443)),
        ("[2001:db8::5]:8443", "2001:db8::5", Some(8443)),
        ("[2001:db8::5]", "2001:db8::5", None),
        ("2001:db8::5", "2001:db8::5", None),
        ("2001:db8::8443", "2001:db8::8443", None),
    ] {
        assert_eq!(split(text), Ok((host.to_owned(), port)), "{text}");
    }
    for (text, expected) in [
        ("a.example:", NameError::PortNumber),
        ("a.example:0", NameError::PortNumber),
        ("a.example:65536", NameError::PortNumber),
        ("a.example:https", NameError::PortNumber),
        (":8443", NameError::Empty),
        ("", NameError::Empty),
        ("https://a.example:8443", NameError::Character('/')),
    ] {
        assert_eq!(split(text), Err(expected), "{text}");
    }
}

#[test]
fn an_address_written_as_a_dns_name_is_refused() {
    assert_eq!(ServerName::from_dns("10.0.0.5"), Err(NameError::Address));
}

proptest! {
    #[test]
    fn no_text_panics_and_a_name_reads_back_as_itself(text in "[a-zA-Z0-9.:_*%\\[\\]-]{0,40}") {
        if let Ok(name) = text.parse::<ServerName>() {
            prop_assert_eq!(name.to_string().parse::<ServerName>(), Ok(name));
        }
    }
}
