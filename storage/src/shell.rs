//! Words of commands that a person is told to type.

use std::borrow::Cow;

/// A text as a shell takes it for one word, whatever is in it: it may have been chosen by somebody
/// else than whoever types.
pub fn shell_word(text: &str) -> String {
    // Only NUL, which no argument of a program can hold, could be refused.
    let word = shlex::Quoter::new().allow_nul(true).quote(text);
    word.map_or_else(|_| text.to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_takes_whatever_it_is_for_one_word() {
        for plain in ["/srv/data", "team/app:1", "app@sha256:0a", "mirror.example.com:8443"] {
            assert_eq!(shell_word(plain), plain);
        }
        for text in ["", "a b", "a;b", "$(id)", "`id`", "it's", "''", "\\", "a\nb", "~", "*", "#a"]
        {
            let script = format!("printf '%s.' {}", shell_word(text));
            let said = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("{text}."), "{script}");
        }
    }
}
