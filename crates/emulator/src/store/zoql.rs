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
    pub(super) fields: Vec<String>,
    conditions: Vec<Condition>,
    /// What to order by.
    pub(super) order: Option<Order>,
    /// How many rows at most.
    pub(super) limit: Option<usize>,
}

/// A field, and whether the largest comes first.
pub(super) type Order = (String, bool);

#[derive(Debug)]
struct Condition {
    field: String,
    comparison: String,
    value: String,
}

/// Reads `select Id, Name from Account where Status = 'Active' and …`.
pub(super) fn parse(text: &str) -> Result<Query, String> {
    let query = parse_export(text)?;
    let is_plain = query.order.is_none() && query.limit.is_none() && !query.asks_for_all();
    if is_plain { Ok(query) } else { Err("You have an error in your ZOQL syntax".to_owned()) }
}

/// Reads what exports take besides: `order by`, `limit`, and `*`.
pub(super) fn parse_export(text: &str) -> Result<Query, String> {
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
    let (rest, limit) = split_limit(rest)?;
    let (rest, order) = split_order(rest)?;
    let conditions = match rest.split_first() {
        None => Vec::new(),
        Some((word, rest)) if word.eq_ignore_ascii_case("where") => conditions(rest)?,
        Some(_) => return Err("You have an error in your ZOQL syntax".to_owned()),
    };
    Ok(Query { kind: kind_of(kind), fields, conditions, order, limit })
}

/// Takes `limit 10` off the end.
fn split_limit(words: &[String]) -> Result<(&[String], Option<usize>), String> {
    match words {
        [rest @ .., word, count] if word.eq_ignore_ascii_case("limit") => {
            let count = count.parse().map_err(|_| "the limit is no number".to_owned())?;
            Ok((rest, Some(count)))
        }
        all => Ok((all, None)),
    }
}

/// Takes `order by UpdatedDate asc` off the end.
fn split_order(words: &[String]) -> Result<(&[String], Option<Order>), String> {
    let Some(at) = words.iter().position(|word| word.eq_ignore_ascii_case("order")) else {
        return Ok((words, None));
    };
    match &words[at + 1..] {
        [by, field, way @ ..] if by.eq_ignore_ascii_case("by") && way.len() <= 1 => {
            let falling = way.first().is_some_and(|way| way.eq_ignore_ascii_case("desc"));
            Ok((&words[..at], Some((field.clone(), falling))))
        }
        _ => Err("You have an error in your ZOQL syntax".to_owned()),
    }
}

impl Query {
    /// Whether it asks for every field.
    pub(super) fn asks_for_all(&self) -> bool {
        self.fields.iter().any(|field| field == "*")
    }

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
    fn an_export_may_be_ordered_and_cut_short() {
        let text = "select * from Account where Name like 'A%' order by UpdatedDate desc limit 3";
        let query = parse_export(text).unwrap();

        assert!(query.asks_for_all() && parse(text).is_err());
        assert_eq!(query.order, Some(("UpdatedDate".to_owned(), true)));
        assert_eq!(query.limit, Some(3));
        assert!(query.matches(&object(&json!({"name": "Ada"}))));
        assert!(parse_export("select Id from Account order UpdatedDate").is_err());
        assert!(parse_export("select Id from Account limit many").is_err());
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for text in ["", "select", "delete from Account", "select Id from Account having x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
