//! JSON as strangers may send it: read by `serde_json`, held to stricter rules.
//!
//! Integers only, each below 2^53; no duplicate keys; bounded nesting; no U+0000 in text. Structures are read from the
//! tree by field, so an array never passes for an object.

use std::borrow::Cow;
use std::fmt;

use bytestring::ByteString;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::id::INTEGER_END;

/// A text that these rules refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text itself.
    #[error("{0}")]
    Syntax(String),
    /// A field is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is there and is not what it should be.
    #[error("{field} is not {want}")]
    Field {
        /// Its key.
        field: &'static str,
        /// What it should be.
        want: &'static str,
    },
}

/// One value, borrowed from the text it was read from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Integer(u64),
    /// Below zero: allowed where nobody looks at it.
    Negative,
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Object<'a>),
    /// The exact text under a key named `body`, unread.
    Raw(&'a str),
}

/// The fields of one object, in their order.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// Whether values under a key named `body` stay unread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    Read,
    KeepRaw,
}

/// Reads one object that fills `bytes`.
pub(crate) fn parse_object(bytes: &[u8], depth_max: usize, bodies: Bodies) -> Result<Object<'_>, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| JsonError::Syntax(error.to_string()))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Seed { depth: depth_max, bodies };
    let value = seed.deserialize(&mut deserializer).map_err(syntax)?;
    deserializer.end().map_err(syntax)?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(JsonError::Syntax("not an object".into())),
    }
}

/// The same for an object that fills `text`, but each value of the list under `key` is handed to `row` as soon as it is read,
/// and not kept.
pub(crate) fn parse_rows<'a>(
    text: &'a str,
    depth_max: usize,
    key: &'static str,
    row: impl FnMut(&Value<'a>),
) -> Result<Object<'a>, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let table = Table { seed: Seed { depth: depth_max, bodies: Bodies::Read }, key, row };
    let object = deserializer.deserialize_map(table).map_err(syntax)?;
    deserializer.end().map_err(syntax)?;
    Ok(object)
}

fn syntax(error: serde_json::Error) -> JsonError {
    JsonError::Syntax(error.to_string())
}

impl<'a> Object<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value, where it is there and not null.
    pub(crate) fn optional(&self, key: &str) -> Option<&Value<'a>> {
        self.get(key).filter(|value| **value != Value::Null)
    }

    pub(crate) fn required(&self, key: &'static str) -> Result<&Value<'a>, JsonError> {
        self.get(key).ok_or(JsonError::Missing(key))
    }

    pub(crate) fn integer(&self, key: &'static str) -> Result<u64, JsonError> {
        self.required(key)?.integer(key)
    }

    pub(crate) fn text(&self, key: &'static str) -> Result<&str, JsonError> {
        self.required(key)?.text(key)
    }

    pub(crate) fn bool(&self, key: &'static str) -> Result<bool, JsonError> {
        match self.required(key)? {
            Value::Bool(value) => Ok(*value),
            _ => Err(JsonError::Field { field: key, want: "true or false" }),
        }
    }

    pub(crate) fn list(&self, key: &'static str) -> Result<&[Value<'a>], JsonError> {
        self.required(key)?.list(key)
    }

    pub(crate) fn raw(&self, key: &'static str) -> Result<&'a str, JsonError> {
        match self.required(key)? {
            Value::Raw(text) => Ok(text),
            _ => Err(JsonError::Field { field: key, want: "an object" }),
        }
    }

    /// A text that parses to `T`.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, key: &'static str, want: &'static str) -> Result<T, JsonError> {
        self.text(key)?.parse().map_err(|_| JsonError::Field { field: key, want })
    }
}

impl<'a> Value<'a> {
    /// A text as a piece of the text `whole` that it was read from.
    pub(crate) fn piece(&self, field: &'static str, whole: &ByteString) -> Result<ByteString, JsonError> {
        match self {
            Value::Text(Cow::Borrowed(text)) => Ok(whole.slice_ref(text)),
            Value::Text(Cow::Owned(text)) => Ok(text.as_str().into()),
            _ => Err(JsonError::Field { field, want: "a text" }),
        }
    }

    pub(crate) fn integer(&self, field: &'static str) -> Result<u64, JsonError> {
        match self {
            Value::Integer(value) => Ok(*value),
            _ => Err(JsonError::Field { field, want: "an integer from 0 to 2^53 - 1" }),
        }
    }

    pub(crate) fn text(&self, field: &'static str) -> Result<&str, JsonError> {
        match self {
            Value::Text(text) => Ok(text),
            _ => Err(JsonError::Field { field, want: "a text" }),
        }
    }

    pub(crate) fn list(&self, field: &'static str) -> Result<&[Value<'a>], JsonError> {
        match self {
            Value::List(values) => Ok(values),
            _ => Err(JsonError::Field { field, want: "a list" }),
        }
    }

    pub(crate) fn object(&self, field: &'static str) -> Result<&Object<'a>, JsonError> {
        match self {
            Value::Object(object) => Ok(object),
            _ => Err(JsonError::Field { field, want: "an object" }),
        }
    }
}

/// Reads one value at most `depth` levels deep.
#[derive(Clone, Copy)]
struct Seed {
    depth: usize,
    bodies: Bodies,
}

impl Seed {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with integers below 2^53")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value<'de>, E> {
        if value >= INTEGER_END {
            return Err(E::custom("an integer of 2^53 or more"));
        }
        Ok(Value::Integer(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value<'de>, E> {
        if value.unsigned_abs() >= INTEGER_END {
            return Err(E::custom("an integer of -2^53 or less"));
        }
        Ok(Value::Negative)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value<'de>, E> {
        Err(E::custom("a number that is no integer below 2^53"))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        checked_text(Cow::Borrowed(text)).map(Value::Text)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value<'de>, E> {
        checked_text(Cow::Owned(text.to_owned())).map(Value::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Value<'de>, A::Error> {
        let inner = self.deeper()?;
        let object = read_fields(fields, |key, fields| {
            if self.bodies == Bodies::KeepRaw && key == "body" {
                return Ok(Value::Raw(fields.next_value::<&RawValue>()?.get()));
            }
            fields.next_value_seed(inner)
        });
        object.map(Value::Object)
    }
}

fn read_fields<'de, A: MapAccess<'de>>(
    mut fields: A,
    mut read: impl FnMut(&str, &mut A) -> Result<Value<'de>, A::Error>,
) -> Result<Object<'de>, A::Error> {
    // Most have no more.
    let mut object = Vec::with_capacity(4);
    while let Some(Key(key)) = fields.next_key()? {
        let key = checked_text(key)?;
        let value = read(&key, &mut fields)?;
        object.push((key, value));
    }
    if has_duplicates(&object) {
        return Err(A::Error::custom("a key that is there twice"));
    }
    Ok(Object(object))
}

/// Reads an object of which the list under `key` is not kept.
struct Table<R> {
    seed: Seed,
    key: &'static str,
    row: R,
}

impl<'de, R: FnMut(&Value<'de>)> Visitor<'de> for Table<R> {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, fields: A) -> Result<Object<'de>, A::Error> {
        let inner = self.seed.deeper()?;
        read_fields(fields, |key, fields| {
            if key == self.key {
                return fields.next_value_seed(Rows { seed: inner, row: &mut self.row });
            }
            fields.next_value_seed(inner)
        })
    }
}

/// The list itself: what stays of it is empty.
struct Rows<'r, R> {
    seed: Seed,
    row: &'r mut R,
}

impl<'de, R: FnMut(&Value<'de>)> DeserializeSeed<'de> for Rows<'_, R> {
    type Value = Value<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, R: FnMut(&Value<'de>)> Visitor<'de> for Rows<'_, R> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let inner = self.seed.deeper()?;
        while let Some(item) = items.next_element_seed(inner)? {
            (self.row)(&item);
        }
        Ok(Value::List(Vec::new()))
    }
}

/// A key, borrowed where the text has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

fn checked_text<E: serde::de::Error>(text: Cow<'_, str>) -> Result<Cow<'_, str>, E> {
    if text.contains('\0') { Err(E::custom("U+0000 in a text")) } else { Ok(text) }
}

fn has_duplicates(object: &[(Cow<'_, str>, Value<'_>)]) -> bool {
    // Most objects are small; a hostile one must not cost its square.
    if object.len() <= 8 {
        return object.iter().enumerate().any(|(at, (key, _))| object[..at].iter().any(|(other, _)| other == key));
    }
    let mut keys: Vec<&str> = object.iter().map(|(key, _)| key.as_ref()).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Object<'_>, JsonError> {
        parse_object(text.as_bytes(), 4, Bodies::Read)
    }

    #[track_caller]
    fn refuses(text: &str) {
        assert!(matches!(parse(text), Err(JsonError::Syntax(_))), "{text}");
    }

    #[test]
    fn w_05_what_is_not_an_object_is_refused() {
        for text in ["", "1", "[]", "null", "\"x\"", "{", "{}{}", "{} x", "\u{feff}{}"] {
            refuses(text);
        }
        assert_eq!(parse("{}"), Ok(Object(Vec::new())));
    }

    #[test]
    fn w_06_nesting_is_bounded_in_known_and_unknown_fields() {
        assert!(parse(r#"{"a":[[[1]]]}"#).is_ok());
        refuses(r#"{"a":[[[[1]]]]}"#);
        refuses(&format!(r#"{{"a":{}}}"#, "[".repeat(100_000)));
        refuses(&"{\"a\":".repeat(100_000));
    }

    #[test]
    fn w_07_duplicate_keys_are_refused_at_every_level() {
        refuses(r#"{"a":1,"a":2}"#);
        refuses(r#"{"a":1,"\u0061":2}"#);
        refuses(r#"{"x":{"a":1,"a":2}}"#);
        let many: Vec<String> = (0..20).map(|n| format!("\"k{}\":0", n % 19)).collect();
        refuses(&format!("{{{}}}", many.join(",")));
    }

    #[test]
    fn w_08_only_integers_below_2_to_the_53_are_numbers() {
        for number in ["1.0", "1e3", "9007199254740992", "18446744073709551616", "-9007199254740992", "NaN", "-0"] {
            refuses(&format!(r#"{{"seq":{number}}}"#));
        }
        let object = parse(r#"{"seq":9007199254740991,"minus":-1,"text":"1"}"#).unwrap();
        assert_eq!(object.integer("seq"), Ok(INTEGER_END - 1));
        let refused = |field| Err(JsonError::Field { field, want: "an integer from 0 to 2^53 - 1" });
        assert_eq!(object.integer("minus"), refused("minus"));
        assert_eq!(object.integer("text"), refused("text"));
        assert_eq!(object.integer("gone"), Err(JsonError::Missing("gone")));
    }

    #[test]
    fn w_09_text_that_is_no_unicode_is_refused() {
        for bytes in [&b"{\"a\":\"\xff\"}"[..], b"{\"a\":\"\xc0\xaf\"}", b"{\"a\":\"\xed\xa0\x80\"}", b"{\"a\":\"\0\"}"]
        {
            assert!(parse_object(bytes, 4, Bodies::Read).is_err(), "{bytes:?}");
        }
        refuses(r#"{"a":"\ud800"}"#);
        refuses(r#"{"a":"\u0000"}"#);
        refuses(r#"{"\u0000":1}"#);
        assert_eq!(parse(r#"{"a":"\ud83d\ude00"}"#).unwrap().text("a"), Ok("😀"));
    }

    #[test]
    fn a_body_is_kept_as_its_exact_text() {
        let object = parse_object(br#"{"body": {"z" : 1, "z":1 } }"#, 4, Bodies::KeepRaw).unwrap();
        assert_eq!(object.raw("body"), Ok(r#"{"z" : 1, "z":1 }"#));
    }
}
