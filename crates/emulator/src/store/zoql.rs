//! As much of Zuora's query language as clients use: fields, one object,
//! comparisons joined by `and`.

use serde_json::{Value, json};

use super::{
    Record,
    objects::{capitalised, kind_of},
};

/// A query that could be read.
#[derive(Debug)]
pub(super) struct Query {
    /// The table it asks.
    pub(super) kind: String,
    fields: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug)]
struct Condition {
    field: String,
    comparison: String,
    value: String,
}

/// Reads `select Id, Name from Account where Status = 'Active' and …`.
pub(super) fn parse(text: &str) -> Result<Query, String> {
    let words = words(text);
    let position = |word: &str| words.iter().position(|one| one.eq_ignore_ascii_case(word));
    let (Some(0), Some(from)) = (position("select"), position("from")) else {
        return Err("You have an error in your ZOQL syntax".to_owned());
    };
    let Some(kind) = words.get(from + 1) else {
        return Err("You have an error in your ZOQL syntax".to_owned());
    };
    let fields = words[1..from].iter().filter(|word| *word != ",").cloned().collect();
    let rest = words.get(from + 2..).unwrap_or_default();
    let conditions = match rest.split_first() {
        None => Vec::new(),
        Some((word, rest)) if word.eq_ignore_ascii_case("where") => conditions(rest)?,
        Some(_) => return Err("You have an error in your ZOQL syntax".to_owned()),
    };
    Ok(Query { kind: kind_of(kind), fields, conditions })
}

impl Query {
    pub(super) fn matches(&self, record: &Record) -> bool {
        self.conditions.iter().all(|condition| condition.holds(record))
    }

    /// The fields asked for, of those that have a value.
    pub(super) fn view(&self, record: &Record) -> Value {
        let all = capitalised(record);
        let wanted = |name: &str| self.fields.iter().any(|field| field.eq_ignore_ascii_case(name));
        let kept: Record =
            all.into_iter().filter(|(name, value)| wanted(name) && !value.is_null()).collect();
        json!(kept)
    }
}

impl Condition {
    fn holds(&self, record: &Record) -> bool {
        let found = record.iter().find(|(name, _)| name.eq_ignore_ascii_case(&self.field));
        let value = match found {
            Some((_, Value::String(text))) => text.clone(),
            Some((_, Value::Null)) | None => "null".to_owned(),
            Some((_, other)) => other.to_string(),
        };
        match self.comparison.as_str() {
            "=" => value == self.value,
            "!=" | "<>" => value != self.value,
            "like" => like(&value, &self.value),
            ordering => {
                let order = match (value.parse::<f64>(), self.value.parse::<f64>()) {
                    (Ok(left), Ok(right)) => left.total_cmp(&right),
                    _ => value.as_str().cmp(self.value.as_str()),
                };
                match ordering {
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
        }
    }
}

fn conditions(words: &[String]) -> Result<Vec<Condition>, String> {
    words
        .split(|word| word.eq_ignore_ascii_case("and"))
        .map(|part| match part {
            [field, comparison, value] => Ok(Condition {
                field: field.clone(),
                comparison: comparison.to_ascii_lowercase(),
                value: value.strip_prefix('\'').unwrap_or(value).to_owned(),
            }),
            _ => Err("You have an error in your ZOQL syntax".to_owned()),
        })
        .collect()
}

/// Words, operators, and quoted texts; a quoted text keeps its first quote.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(&letter) = letters.peek() {
        let mut word = String::new();
        if letter == '\'' {
            word.extend(letters.next());
            word.extend(letters.by_ref().take_while(|one| *one != '\''));
        } else if "=<>!".contains(letter) {
            while let Some(one) = letters.next_if(|one| "=<>!".contains(*one)) {
                word.push(one);
            }
        } else if letter == ',' {
            word.extend(letters.next());
        } else if letter.is_whitespace() {
            letters.next();
            continue;
        } else {
            while let Some(one) =
                letters.next_if(|one| !one.is_whitespace() && !",=<>!'".contains(*one))
            {
                word.push(one);
            }
        }
        words.push(word);
    }
    words
}

fn like(value: &str, pattern: &str) -> bool {
    let inner = pattern.trim_matches('%');
    match (pattern.starts_with('%'), pattern.ends_with('%')) {
        (true, true) => value.contains(inner),
        (true, false) => value.ends_with(inner),
        (false, true) => value.starts_with(inner),
        (false, false) => value == inner,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::object, *};

    #[test]
    fn a_query_picks_fields_and_objects() {
        let query =
            parse("select Id,Name from Account where Status='Active' and Balance >= 10").unwrap();
        let account = |balance: u32| {
            object(&json!({"id": "1", "name": "A", "status": "Active", "balance": balance}))
        };

        assert_eq!(query.kind, "account");
        assert!(query.matches(&account(10)));
        assert!(!query.matches(&account(9)));
        assert_eq!(query.view(&account(10)), json!({"Id": "1", "Name": "A"}));
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for text in ["", "select", "delete from Account", "select Id from Account having x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
