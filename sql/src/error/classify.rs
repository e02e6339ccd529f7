//! What DataFusion and Arrow say, in Postgres' words.
//!
//! They report most faults as text only. What the text quotes (a value, a name) decides nothing.

use super::Error;
use crate::dialect::not_boolean;
use crate::rewrite::text_shown;
use crate::types::name_of_arrow_text;

pub(super) fn division_by_zero() -> Error {
    Error::new("22012", "division by zero")
}

/// Finds the SQLSTATE of an error that is known only by its text. What the text quotes (a value, a name) decides nothing.
pub(super) fn classify(text: &str) -> Option<Error> {
    let text = without_prefixes(text);
    let lower = without_quoted(text).to_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return Some(division_by_zero());
    }
    if lower.starts_with("scalar subquery returned more than one row") {
        return Some(Error::new("21000", "more than one row returned by a subquery used as an expression"));
    }
    if let Some(name) = enclosed(text, "table '", "' not found") {
        return Some(Error::undefined_relation(name.rsplit('.').next().unwrap_or(name)));
    }
    if let Some(value) = enclosed(text, "Cannot cast string '", "' to value of ") {
        let data_type = text.rsplit("' to value of ").next().and_then(|rest| rest.split(" type").next());
        let data_type = data_type.unwrap_or("the column");
        let name = name_of_arrow_text(data_type);
        let sqlstate = if name.starts_with("date") || name.starts_with("time") { "22007" } else { "22P02" };
        return Some(Error::new(sqlstate, format!("invalid input syntax for type {name}: \"{value}\"")));
    }
    if lower.contains("error parsing timestamp")
        || lower.contains("error parsing date")
        || lower.contains("interval") && lower.contains("pars")
    {
        return Some(Error::new("22007", tidy(text)));
    }
    if let Some((_, fault)) = text.split_once("regex parse error:") {
        let fault = fault.rsplit("error:").next().unwrap_or_default().trim();
        return Some(Error::new("2201B", format!("invalid regular expression: {fault}")));
    }
    if let Some(value) = enclosed(text, "Can't cast value ", " to type") {
        return Some(Error::new("22003", format!("value {value} is out of range for the type")));
    }
    if lower.starts_with("overflow happened on") {
        return Some(Error::new("22003", "value out of range").with_hint("numeric has at most 38 digits."));
    }
    if lower.contains("overflow") || lower.contains("out of range") || lower.contains("too large to store") {
        return Some(Error::new("22003", tidy(text)));
    }
    classify_plan(text, &lower)
}

/// Faults of the query itself, found while planning.
fn classify_plan(text: &str, lower: &str) -> Option<Error> {
    if let Some(name) = enclosed(text, "Invalid function '", "'") {
        let found = Error::new("42883", format!("function {name} does not exist"));
        // DataFusion names the nearest of all, however far.
        let near = |other: &&str| other.chars().next() == name.chars().next() && other.len().abs_diff(name.len()) < 3;
        return Some(match between(text, "Did you mean '", "'").filter(near) {
            Some(other) => found.with_hint(format!("Perhaps you meant {other}.")),
            None => found.with_hint("Check the name and the argument types; SHOW FUNCTIONS lists module functions."),
        });
    }
    if let Some(own) = between(text, "user-defined coercion failed with: External error: ", ". No function matches") {
        return Some(Error::new("42883", own).with_hint("Cast the arguments; SHOW FUNCTIONS lists module functions."));
    }
    if let Some(name) = enclosed(text, "table function '", "' not found") {
        return Some(Error::new("42883", format!("table function {name} does not exist")));
    }
    if let Some(found) =
        not_a_condition(text).or_else(|| no_such_call(text)).or_else(|| in_the_wrong_place(text, lower))
    {
        return Some(found);
    }
    const STATES: [(&str, &str); 10] = [
        ("failed to coerce arguments", "42883"),
        ("expects", "42883"),
        ("must be in group by", "42803"),
        ("cannot coerce", "42883"),
        ("cannot infer common argument type", "42883"),
        ("non-boolean predicate", "42804"),
        ("cannot automatically convert", "42804"),
        ("unsupported cast", "42846"),
        ("column count doesn't match", "42601"),
        ("field position must not be zero", "22023"),
    ];
    STATES.iter().find(|(needle, _)| lower.contains(needle)).map(|(_, state)| Error::new(state, tidy(text)))
}

/// A function or operator that does not take what it is given.
fn no_such_call(text: &str) -> Option<Error> {
    const HINT: &str = "The argument types do not match. You might need to add explicit type casts.";
    if let Some(call) = between(text, "No function matches the given name and argument types '", "'.") {
        let (name, types) = call.split_once('(')?;
        let types = type_names(types.strip_suffix(')')?);
        return Some(Error::new("42883", format!("function {name}({types}) does not exist")).with_hint(HINT));
    }
    if let Some(operands) = between(text, "annot coerce arithmetic expression ", " to valid types")
        && let [left, operator, right] = operands.split(' ').collect::<Vec<_>>().as_slice()
    {
        let (left, right) = (name_of_arrow_text(left), name_of_arrow_text(right));
        return Some(
            Error::new("42883", format!("operator does not exist: {left} {operator} {right}")).with_hint(HINT),
        );
    }
    if text.starts_with("Unary operator '-' only supports") {
        return Some(
            Error::new("42883", "operator does not exist: - before a value that is no number").with_hint(HINT),
        );
    }
    None
}

/// The types of `Int64, Decimal128(5, 2)`.
fn type_names(types: &str) -> String {
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in types.char_indices().chain([(types.len(), ',')]) {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name_of_arrow_text(types[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names.join(", ")
}

/// What may not stand where it does.
fn in_the_wrong_place(text: &str, lower: &str) -> Option<Error> {
    if let Some(column) = between(text, "column \"", "\" must appear in the GROUP BY clause") {
        let message =
            format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function");
        return Some(Error::new("42803", message));
    }
    if let Some(position) = between(text, "Order by column out of bounds, specified: ", ",") {
        return Some(Error::new("42P10", format!("ORDER BY position {position} is not in select list")));
    }
    if let Some(position) = between(text, "annot find column with position ", " in SELECT clause") {
        return Some(Error::new("42P10", format!("GROUP BY position {position} is not in select list")));
    }
    if let Some(lengths) = text.split_once("nconsistent data length across values list: got ").map(|(_, rest)| rest) {
        let longer = lengths.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok());
        let longer = matches!(longer.collect::<Vec<_>>().as_slice(), [found, 0, wanted] if found > wanted);
        let message = if longer {
            "INSERT has more expressions than target columns"
        } else {
            "VALUES lists must all be the same length"
        };
        return Some(Error::syntax(message));
    }
    const PLACES: [(&str, &str, &str); 9] = [
        ("limit must be >= 0", "2201W", "LIMIT must not be negative"),
        ("offset must be >=", "2201X", "OFFSET must not be negative"),
        ("expected limit to be an integer", "42804", "argument of LIMIT must be type bigint"),
        ("expected offset to be an integer", "42804", "argument of OFFSET must be type bigint"),
        ("aggregate functions are not allowed in the where", "42803", "aggregate functions are not allowed in WHERE"),
        ("aggregate function calls cannot be nested", "42803", "aggregate function calls cannot be nested"),
        ("does not support logical expression windowfunction", "42P20", "window functions are not allowed here"),
        ("does not support logical expression scalarsubquery", "0A000", "this subquery is not supported here"),
        (
            "does not support logical expression outerreference",
            "0A000",
            "this use of a column of the query around is not supported",
        ),
    ];
    let (_, state, message) = PLACES.iter().find(|(needle, _, _)| lower.contains(needle))?;
    let found = Error::new(state, *message);
    Some(if *state == "0A000" { found.with_hint("Write it as a join with a GROUP BY.") } else { found })
}

/// What stands where a boolean belongs.
fn not_a_condition(text: &str) -> Option<Error> {
    let (place, found) = if text.starts_with("Cannot create filter with non-boolean predicate") {
        ("WHERE", text.rsplit_once("' returning ")?.1)
    } else if let Some((_, found)) = text.to_lowercase().split_once("join condition must be boolean type, but got ") {
        ("JOIN/ON", &text[text.len() - found.len()..])
    } else if let Some((_, found)) = text.split_once("'NOT' requires a boolean expression, got ") {
        ("NOT", found)
    } else {
        let (_, operands) = text.split_once("argument type for logical boolean operation ")?;
        let places = [("AND", " AND "), ("OR", " OR ")];
        let (place, (left, right)) =
            places.iter().find_map(|(place, word)| Some((*place, operands.split_once(word)?)))?;
        (place, if left == "Boolean" { right } else { left })
    };
    Some(not_boolean(place, &name_of_arrow_text(found.trim())))
}

/// The text between two markers, the first of which begins the whole.
fn enclosed<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(before)?;
    rest.find(after).map(|end| &rest[..end])
}

/// The text without what stands in quotes; an apostrophe inside a word is none.
fn without_quoted(text: &str) -> String {
    let (mut kept, mut open, mut previous) = (String::with_capacity(text.len()), None, ' ');
    for character in text.chars() {
        match open {
            Some(quote) if character == quote => open = None,
            Some(_) => {}
            None if matches!(character, '\'' | '"') && !previous.is_alphanumeric() => open = Some(character),
            None => kept.push(character),
        }
        previous = character;
    }
    kept
}

/// The text between two markers.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let rest = &text[start..];
    rest.find(after).map(|end| &rest[..end])
}

/// One line, without the libraries' prefixes, starting in lower case.
pub(super) fn tidy(text: &str) -> String {
    lowercase_first(&text_shown(without_prefixes(text)).lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

fn without_prefixes(text: &str) -> &str {
    const PREFIXES: [&str; 8] = [
        "Error during planning: ",
        "This feature is not implemented: ",
        "Execution error: ",
        "Arrow error: ",
        "Cast error: ",
        "Compute error: ",
        "Parser error: ",
        "Invalid argument error: ",
    ];
    let mut rest = text.trim();
    while let Some(shorter) = PREFIXES.iter().find_map(|p| rest.strip_prefix(p)) {
        rest = shorter;
    }
    rest
}

pub(super) fn lowercase_first(text: &str) -> String {
    let mut chars = text.chars();
    let (Some(first), second) = (chars.next(), chars.clone().next()) else { return String::new() };
    if second.is_some_and(char::is_uppercase) {
        return text.to_owned();
    }
    first.to_lowercase().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_get_their_states() {
        let cases = [
            ("Arrow error: Divide by zero error", "22012"),
            ("Cast error: Cannot cast string 'abc' to value of Int64 type", "22P02"),
            ("table 'millpond.public.nope' not found", "42P01"),
            ("Invalid function 'foo'.\nDid you mean 'floor'?", "42883"),
            ("Can't cast value 300000000000 to type Int32", "22003"),
            ("Overflow happened on: 1 + 2", "22003"),
            ("Cannot cast string 'overflow' to value of Date32 type", "22007"),
            ("Execution error: Scalar subquery returned more than one row", "21000"),
            (
                "Function 'm.f' user-defined coercion failed with: External error: function m.f(text) does not exist. No function matches",
                "42883",
            ),
        ];
        for (text, message) in [
            (
                "No function matches the given name and argument types 'f(Int64, Decimal128(5, 2))'. You",
                "function f(bigint, numeric(5,2)) does not exist",
            ),
            (
                "Cannot coerce arithmetic expression Int32 + Utf8 to valid types",
                "operator does not exist: integer + text",
            ),
            (
                "Inconsistent data length across values list: got 4 values in row 0 but expected 3",
                "INSERT has more expressions than target columns",
            ),
            (
                "regex parse error:\n    [\n    ^\nerror: unclosed character class",
                "invalid regular expression: unclosed character class",
            ),
        ] {
            assert_eq!(classify(text).map(|found| found.message).as_deref(), Some(message), "{text}");
        }
        for (text, state) in cases {
            let found = classify(text).unwrap_or_else(|| panic!("{text} is not known"));
            assert_eq!(found.sqlstate, state, "{text}");
            assert!(!found.message.contains('\n'), "{text}");
        }
        for text in ["invalid name 'out of range'", "no column \"expects\" in 'table 'x' not found'"] {
            assert_eq!(classify(text), None, "{text}");
        }
    }
}
