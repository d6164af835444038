//! Apple's property lists, the little of them that an XCFramework and a privacy manifest use:
//! dictionaries, lists, texts and truths, as XML.

use std::collections::BTreeMap;

use crate::failure::{Failure, Result};

/// How deep a list is read: beyond that it is not one of ours.
const DEPTH: usize = 16;

/// A value of a property list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Truth(bool),
    List(Vec<Value>),
    Dict(BTreeMap<String, Value>),
}

impl Value {
    /// A text.
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// A dictionary.
    pub(crate) fn dict<const N: usize>(entries: [(&str, Value); N]) -> Self {
        let entries = entries.into_iter();
        Self::Dict(
            entries
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    /// An entry of a dictionary.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(entries) => entries.get(key),
            _ => None,
        }
    }

    /// A text of a dictionary.
    pub(crate) fn get_text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A list of a dictionary; an empty one if there is none.
    pub(crate) fn get_list(&self, key: &str) -> &[Self] {
        match self.get(key) {
            Some(Self::List(values)) => values,
            _ => &[],
        }
    }

    /// The file.
    pub(crate) fn to_xml(&self) -> String {
        let mut xml = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
             \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
             <plist version=\"1.0\">\n",
        );
        self.write(&mut xml, 0);
        xml.push_str("</plist>\n");
        xml
    }

    fn write(&self, xml: &mut String, depth: usize) {
        let indent = "\t".repeat(depth);
        match self {
            Self::Text(text) => {
                xml.push_str(&format!("{indent}<string>{}</string>\n", escape(text)));
            }
            Self::Truth(truth) => xml.push_str(&format!("{indent}<{truth}/>\n")),
            Self::List(values) => {
                xml.push_str(&format!("{indent}<array>\n"));
                for value in values {
                    value.write(xml, depth + 1);
                }
                xml.push_str(&format!("{indent}</array>\n"));
            }
            Self::Dict(entries) => {
                xml.push_str(&format!("{indent}<dict>\n"));
                for (key, value) in entries {
                    xml.push_str(&format!("{indent}\t<key>{}</key>\n", escape(key)));
                    value.write(xml, depth + 1);
                }
                xml.push_str(&format!("{indent}</dict>\n"));
            }
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it is not a property list of these kinds of value.
    pub(crate) fn parse(xml: &str) -> Result<Self> {
        let start = xml.find("<plist").ok_or_else(|| bad("it has no plist"))?;
        let mut reader = Reader(&xml[start..]);
        reader.tag()?;
        let value = reader.value(0)?;
        match reader.tag()? {
            "/plist" => Ok(value),
            other => Err(bad(&format!("<{other}> after its value"))),
        }
    }
}

/// What is left to read.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    /// The next tag, without its brackets; nothing but space may come before it.
    fn tag(&mut self) -> Result<&'a str> {
        let rest = self.0.trim_start();
        let tag = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (tag, rest) = tag.ok_or_else(|| bad("a tag is missing"))?;
        self.0 = rest;
        Ok(tag)
    }

    /// The text up to an end tag.
    fn text(&mut self, end: &str) -> Result<String> {
        let (text, rest) = self
            .0
            .split_once(end)
            .ok_or_else(|| bad(&format!("{end} is missing")))?;
        self.0 = rest;
        Ok(unescape(text))
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        let tag = self.tag()?;
        self.value_of(tag, depth)
    }

    fn value_of(&mut self, tag: &str, depth: usize) -> Result<Value> {
        if depth > DEPTH {
            return Err(bad("it is too deep"));
        }
        match tag {
            "string" => Ok(Value::Text(self.text("</string>")?)),
            "string/" => Ok(Value::text("")),
            "true/" => Ok(Value::Truth(true)),
            "false/" => Ok(Value::Truth(false)),
            "array/" => Ok(Value::List(Vec::new())),
            "dict/" => Ok(Value::dict([])),
            "array" => {
                let mut values = Vec::new();
                loop {
                    match self.tag()? {
                        "/array" => return Ok(Value::List(values)),
                        tag => values.push(self.value_of(tag, depth + 1)?),
                    }
                }
            }
            "dict" => {
                let mut entries = BTreeMap::new();
                loop {
                    match self.tag()? {
                        "/dict" => return Ok(Value::Dict(entries)),
                        "key" => {
                            let key = self.text("</key>")?;
                            entries.insert(key, self.value(depth + 1)?);
                        }
                        other => return Err(bad(&format!("<{other}> where a key belongs"))),
                    }
                }
            }
            other => Err(bad(&format!("<{other}> is no value"))),
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

fn bad(what: &str) -> Failure {
    Failure(format!("not a property list: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let value = Value::dict([
            ("Text & more", Value::text("a < b > c &amp;")),
            ("Empty", Value::text("")),
            (
                "List",
                Value::List(vec![Value::Truth(true), Value::dict([])]),
            ),
            ("No", Value::Truth(false)),
        ]);
        assert_eq!(Value::parse(&value.to_xml()).unwrap(), value);
        assert_eq!(value.get_list("List").len(), 2);
        assert_eq!(value.get_text("Text & more"), Some("a < b > c &amp;"));
        assert_eq!(value.get_text("List"), None);
    }

    #[test]
    fn what_is_no_property_list_is_refused() {
        let plist = |body: &str| Value::parse(&format!("<plist version=\"1.0\">{body}</plist>"));
        assert!(plist("<array><string/></array>").is_ok());
        for body in [
            "",
            "<dict><string>a</string></dict>",
            "<dict><key>a</key></dict>",
            "<array><string>a</string>",
            "<string>a",
            "<real>1</real>",
            "<true/><true/>",
            &"<array>".repeat(1000),
        ] {
            assert!(plist(body).is_err(), "{body}");
        }
        assert!(Value::parse("").is_err());
    }
}
