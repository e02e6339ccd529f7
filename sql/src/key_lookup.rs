//! Which keys of a table the filters of a scan leave, so that its index finds the rows instead of a scan.
//!
//! Only a hint: the filters are applied to what is found.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use millpond_engine::catalog::{Object, ObjectKind};
use std::collections::HashSet;

/// Most keys that are looked up one by one; a scan finds more of them faster.
const KEYS_MAX: usize = 1000;

/// Keys of a table, each once.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The key columns, in key order.
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) rows: usize,
}

/// The keys that rows passing all of `filters` have; `None` when the filters do not fix every key column, or leave more
/// than one value of a column of a key that has several.
pub(crate) fn keys(table: &Object, filters: &[Expr]) -> Option<Keys> {
    let ObjectKind::Table { key } = &table.kind else { return None };
    let values = |column: &usize| {
        let column = &table.columns[*column];
        filters.iter().find_map(|filter| values(filter, &column.name, &column.data_type))
    };
    let columns = key.iter().map(values).collect::<Option<Vec<_>>>()?;
    let rows = columns.first()?.len();
    if rows > KEYS_MAX || columns.len() > 1 && columns.iter().any(|values| values.len() != 1) {
        return None;
    }
    let array = |(values, column): (Vec<ScalarValue>, &usize)| match values.is_empty() {
        true => Some(arrow::array::new_empty_array(&table.columns[*column].data_type)),
        false => ScalarValue::iter_to_array(values).ok(),
    };
    let columns = columns.into_iter().zip(key).map(array).collect::<Option<Vec<_>>>()?;
    Some(Keys { columns, rows })
}

/// The values of `column` that `filter` leaves, each once; `None` when it does not say.
fn values(filter: &Expr, column: &str, data_type: &DataType) -> Option<Vec<ScalarValue>> {
    let is_column = |expr: &Expr| matches!(expr, Expr::Column(c) if c.name == column);
    let mut found = match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (left.as_ref(), right.as_ref()) {
            (l, Expr::Literal(value, _)) if is_column(l) => vec![value.clone()],
            (Expr::Literal(value, _), r) if is_column(r) => vec![value.clone()],
            _ => return None,
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let mut either = values(left, column, data_type)?;
            either.extend(values(right, column, data_type)?);
            either
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            return values(left, column, data_type).or_else(|| values(right, column, data_type));
        }
        Expr::InList(list) if !list.negated && is_column(&list.expr) => {
            let literal = |expr: &Expr| if let Expr::Literal(value, _) = expr { Some(value.clone()) } else { None };
            list.list.iter().map(literal).collect::<Option<Vec<_>>>()?
        }
        _ => return None,
    };
    if found.iter().any(|value| value.data_type() != *data_type) {
        return None;
    }
    let mut seen = HashSet::new();
    found.retain(|value| !value.is_null() && seen.insert(value.clone()));
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::{col, lit};
    use millpond_engine::ObjectId;
    use millpond_engine::catalog::Column;

    fn table(key: Vec<usize>) -> Object {
        let column = |name: &str, data_type| Column { name: name.into(), data_type, nullable: false };
        let columns = vec![column("a", DataType::Int64), column("b", DataType::Utf8)];
        let kind = ObjectKind::Table { key };
        Object { id: ObjectId(1), name: "t".into(), columns, kind, definition: String::new(), modules: vec![] }
    }

    fn rows(key: Vec<usize>, filters: &[Expr]) -> Option<usize> {
        keys(&table(key), filters).map(|keys| keys.rows)
    }

    #[test]
    fn filters_that_fix_the_key_give_it() {
        let (is_a, is_b) = (col("a").eq(lit(1i64)), col("b").eq(lit("x")));
        assert_eq!(rows(vec![0], &[is_b.clone(), lit(1i64).eq(col("a"))]), Some(1));
        assert_eq!(rows(vec![0], &[is_a.clone().or(col("a").eq(lit(2i64)))]), Some(2));
        assert_eq!(rows(vec![0], &[col("a").in_list(vec![lit(1i64), lit(2i64), lit(1i64)], false)]), Some(2));
        assert_eq!(rows(vec![0, 1], &[is_a.clone().and(is_b.clone()), is_b.clone()]), Some(1));
        assert_eq!(rows(vec![0], &[col("a").eq(lit(ScalarValue::Int64(None)))]), Some(0));
    }

    #[test]
    fn other_filters_do_not() {
        let (is_a, is_b) = (col("a").eq(lit(1i64)), col("b").eq(lit("x")));
        assert_eq!(rows(vec![0], &[is_b.clone(), col("a").gt(lit(1i64))]), None);
        assert_eq!(rows(vec![0], &[is_a.clone().or(is_b)]), None);
        assert_eq!(rows(vec![0, 1], &[is_a]), None);
        assert_eq!(rows(vec![0], &[col("a").eq(lit(1i32))]), None);
        assert_eq!(rows(vec![0], &[col("a").in_list(vec![lit(1i64)], true)]), None);
    }
}
