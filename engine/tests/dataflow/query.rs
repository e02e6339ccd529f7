//! Random queries: each lowers to a plan and evaluates itself one row at a time, from scratch.

use crate::rows::*;
use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr_common::operator::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, IsNullExpr, Literal};
use millpond_engine::ObjectId;
use millpond_engine::plan::{Aggregate, AggregateKind, Expr, JoinKind, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Columns of every object.
pub fn object_types() -> Vec<DataType> {
    vec![DataType::Int64, DataType::Utf8, DataType::Float64, DECIMAL, DataType::Int64]
}

/// The row cannot be computed.
#[derive(Debug)]
pub struct Failed;

/// A scalar expression; integers are small, so nothing overflows.
#[derive(Clone, Debug)]
pub enum Scalar {
    Column(usize),
    Lit(Value),
    Binary(Box<Scalar>, Op, Box<Scalar>),
    IsNull(Box<Scalar>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Plus,
    /// Fails on a divisor of 0.
    Divide,
    Less,
    Equal,
    And,
    Or,
}

impl Scalar {
    fn lower(&self) -> Expr {
        match self {
            Scalar::Column(at) => Arc::new(Column::new(&format!("c{at}"), *at)),
            Scalar::Lit(value) => Arc::new(Literal::new(match value {
                Value::Int(x) => ScalarValue::Int64(Some(*x)),
                Value::Text(x) => ScalarValue::Utf8(Some(x.clone())),
                other => panic!("no literal {other:?}"),
            })),
            Scalar::Binary(left, op, right) => {
                let op = match op {
                    Op::Plus => Operator::Plus,
                    Op::Divide => Operator::Divide,
                    Op::Less => Operator::Lt,
                    Op::Equal => Operator::Eq,
                    Op::And => Operator::And,
                    Op::Or => Operator::Or,
                };
                Arc::new(BinaryExpr::new(left.lower(), op, right.lower()))
            }
            Scalar::IsNull(inner) => Arc::new(IsNullExpr::new(inner.lower())),
        }
    }

    fn evaluate(&self, row: &Row) -> Result<Value, Failed> {
        Ok(match self {
            Scalar::Column(at) => row[*at].clone(),
            Scalar::Lit(value) => value.clone(),
            Scalar::IsNull(inner) => Value::Bool(inner.evaluate(row)? == Value::Null),
            Scalar::Binary(left, op, right) => {
                let left = left.evaluate(row)?;
                // AND and OR guard what is on their right.
                if matches!((op, &left), (Op::And, Value::Bool(false)) | (Op::Or, Value::Bool(true))) {
                    return Ok(left);
                }
                let right = right.evaluate(row)?;
                match (op, &left, &right) {
                    (Op::And, _, Value::Bool(false)) => Value::Bool(false),
                    (Op::Or, _, Value::Bool(true)) => Value::Bool(true),
                    (_, Value::Null, _) | (_, _, Value::Null) => Value::Null,
                    (Op::Divide, _, Value::Int(0)) => return Err(Failed),
                    (Op::Divide, Value::Int(a), Value::Int(b)) => Value::Int(a / b),
                    (Op::Plus, Value::Int(a), Value::Int(b)) => Value::Int(a + b),
                    (Op::Less, a, b) => Value::Bool(a < b),
                    (Op::Equal, a, b) => Value::Bool(a == b),
                    (Op::And, ..) => Value::Bool(true),
                    (Op::Or, ..) => Value::Bool(false),
                    other => panic!("{other:?}"),
                }
            }
        })
    }

    fn holds(&self, row: &Row) -> Result<bool, Failed> {
        Ok(self.evaluate(row)? == Value::Bool(true))
    }
}

#[derive(Clone, Debug)]
pub struct Call {
    kind: AggregateKind,
    argument: Option<Scalar>,
    filter: Option<Scalar>,
    distinct: bool,
    argument_type: DataType,
    output_type: DataType,
}

#[derive(Clone, Debug)]
pub enum Query {
    Input {
        object: ObjectId,
        columns: Vec<usize>,
    },
    Filter {
        input: Box<Query>,
        predicate: Scalar,
    },
    Project {
        input: Box<Query>,
        exprs: Vec<(Scalar, DataType)>,
    },
    Union {
        inputs: Vec<Query>,
    },
    Join {
        kind: JoinKind,
        left: Box<Query>,
        right: Box<Query>,
        on: Vec<(usize, usize)>,
        filter: Option<Scalar>,
        nulls: bool,
    },
    Aggregate {
        input: Box<Query>,
        keys: Vec<(Scalar, DataType)>,
        calls: Vec<Call>,
    },
}

impl Query {
    pub fn types(&self) -> Vec<DataType> {
        match self {
            Query::Input { columns, .. } => columns.iter().map(|at| object_types()[*at].clone()).collect(),
            Query::Filter { input, .. } => input.types(),
            Query::Project { exprs, .. } => exprs.iter().map(|(_, t)| t.clone()).collect(),
            Query::Union { inputs } => inputs[0].types(),
            Query::Join { kind, left, right, .. } => match kind {
                JoinKind::Semi | JoinKind::Anti => left.types(),
                JoinKind::Mark => [left.types(), vec![DataType::Boolean]].concat(),
                _ => [left.types(), right.types()].concat(),
            },
            Query::Aggregate { keys, calls, .. } => {
                keys.iter().map(|(_, t)| t.clone()).chain(calls.iter().map(|c| c.output_type.clone())).collect()
            }
        }
    }

    pub fn lower(&self) -> Plan {
        let schema = schema_of(&self.types());
        let column = |at: usize| Scalar::Column(at).lower();
        match self {
            Query::Input { object, columns } => Plan::Input { object: *object, columns: columns.clone(), schema },
            Query::Filter { input, predicate } => {
                Plan::Filter { input: Box::new(input.lower()), predicate: predicate.lower() }
            }
            Query::Project { input, exprs } => {
                let exprs = exprs.iter().map(|(e, _)| e.lower()).collect();
                Plan::Project { input: Box::new(input.lower()), exprs, schema }
            }
            Query::Union { inputs } => Plan::UnionAll { inputs: inputs.iter().map(Query::lower).collect(), schema },
            Query::Join { kind, left, right, on, filter, nulls } => Plan::Join {
                kind: *kind,
                left: Box::new(left.lower()),
                right: Box::new(right.lower()),
                on: on.iter().map(|(l, r)| (column(*l), column(*r))).collect(),
                filter: filter.as_ref().map(Scalar::lower),
                null_equals_null: *nulls,
                schema,
            },
            Query::Aggregate { input, keys, calls } => {
                let call = |call: &Call| Aggregate {
                    kind: call.kind,
                    argument: call.argument.as_ref().map(Scalar::lower),
                    filter: call.filter.as_ref().map(Scalar::lower),
                    distinct: call.distinct,
                    argument_type: call.argument_type.clone(),
                    output_type: call.output_type.clone(),
                };
                Plan::Aggregate {
                    input: Box::new(input.lower()),
                    keys: keys.iter().map(|(e, _)| e.lower()).collect(),
                    aggregates: calls.iter().map(call).collect(),
                    schema,
                }
            }
        }
    }

    /// The oracle: the rows, and in `failed` how many cannot be computed.
    pub fn evaluate(&self, objects: &BTreeMap<ObjectId, Rows>, failed: &mut i64) -> Rows {
        let mut out = Rows::new();
        match self {
            Query::Input { object, columns } => {
                for (row, n) in objects.get(object).into_iter().flatten() {
                    add(&mut out, columns.iter().map(|at| row[*at].clone()).collect(), *n);
                }
            }
            Query::Filter { input, predicate } => {
                for (row, n) in input.evaluate(objects, failed) {
                    match predicate.holds(&row) {
                        Ok(true) => add(&mut out, row, n),
                        Ok(false) => {}
                        Err(Failed) => *failed += n,
                    }
                }
            }
            Query::Project { input, exprs } => {
                for (row, n) in input.evaluate(objects, failed) {
                    match exprs.iter().map(|(e, _)| e.evaluate(&row)).collect() {
                        Ok(projected) => add(&mut out, projected, n),
                        Err(Failed) => *failed += n,
                    }
                }
            }
            Query::Union { inputs } => {
                for input in inputs {
                    input.evaluate(objects, failed).into_iter().for_each(|(row, n)| add(&mut out, row, n));
                }
            }
            Query::Join { left, right, .. } => {
                let (left, right) = (left.evaluate(objects, failed), right.evaluate(objects, failed));
                out = self.join(left, right, failed);
            }
            Query::Aggregate { input, keys, calls } => {
                // Per group: what the rows feed each call.
                let mut groups: BTreeMap<Row, Vec<(Vec<Option<Value>>, i64)>> = BTreeMap::new();
                if keys.is_empty() {
                    groups.entry(vec![]).or_default();
                }
                for (row, n) in input.evaluate(objects, failed) {
                    let key: Result<Row, Failed> = keys.iter().map(|(e, _)| Ok(e.evaluate(&row)?.key())).collect();
                    let fed: Result<Vec<_>, Failed> = calls.iter().map(|call| call.fed(&row)).collect();
                    match (key, fed) {
                        (Ok(key), Ok(fed)) => groups.entry(key).or_default().push((fed, n)),
                        _ => *failed += n,
                    }
                }
                for (key, rows) in groups {
                    let result = |(at, call): (usize, &Call)| {
                        call.evaluate(rows.iter().filter_map(|(fed, n)| Some((fed[at].clone()?, *n))).collect())
                    };
                    add(&mut out, key.into_iter().chain(calls.iter().enumerate().map(result)).collect(), 1);
                }
            }
        }
        out
    }
    /// The joined rows of a [`Query::Join`].
    fn join(&self, left: Rows, right: Rows, failed: &mut i64) -> Rows {
        let Query::Join { kind, left: left_query, right: right_query, on, filter, nulls } = self else {
            unreachable!()
        };
        let pad = |query: &Query| vec![Value::Null; query.types().len()];
        let (mut out, mut left_matched, mut right_matched) = (Rows::new(), BTreeSet::new(), BTreeSet::new());
        for ((l, n), (r, m)) in left.iter().flat_map(|l| right.iter().map(move |r| (l, r))) {
            let equal = |(a, b): &(usize, usize)| l[*a].key() == r[*b].key() && (*nulls || l[*a] != Value::Null);
            let row = [l.clone(), r.clone()].concat();
            if !on.iter().all(equal) {
                continue;
            }
            match filter.as_ref().map_or(Ok(true), |f| f.holds(&row)) {
                Ok(true) => {
                    left_matched.insert(l.clone());
                    right_matched.insert(r.clone());
                    if !matches!(kind, JoinKind::Semi | JoinKind::Anti | JoinKind::Mark) {
                        add(&mut out, row, n * m);
                    }
                }
                Ok(false) => {}
                Err(Failed) => *failed += n * m,
            }
        }
        for (l, n) in left {
            let matched = left_matched.contains(&l);
            match kind {
                JoinKind::Left | JoinKind::Full if !matched => add(&mut out, [l, pad(right_query)].concat(), n),
                JoinKind::Semi if matched => add(&mut out, l, n),
                JoinKind::Anti if !matched => add(&mut out, l, n),
                JoinKind::Mark => add(&mut out, [l, vec![Value::Bool(matched)]].concat(), n),
                _ => {}
            }
        }
        for (r, m) in right {
            if matches!(kind, JoinKind::Right | JoinKind::Full) && !right_matched.contains(&r) {
                add(&mut out, [pad(left_query), r].concat(), m);
            }
        }
        out
    }
}

impl Call {
    /// What a row feeds the call: its argument, or anything for `count(*)`; nothing when FILTER keeps it out.
    fn fed(&self, row: &Row) -> Result<Option<Value>, Failed> {
        if !self.filter.as_ref().map_or(Ok(true), |f| f.holds(row))? {
            return Ok(None);
        }
        let value = self.argument.as_ref().map(|argument| argument.evaluate(row)).transpose()?;
        Ok(value.or(Some(Value::Bool(true))))
    }

    fn evaluate(&self, fed: Vec<(Value, i64)>) -> Value {
        if self.argument.is_none() {
            return Value::Int(fed.iter().map(|(_, n)| n).sum());
        }
        let mut values: Vec<(Value, i64)> = fed.into_iter().filter(|(v, _)| *v != Value::Null).collect();
        let ordered = values.iter().map(|(v, _)| v.clone());
        match self.kind {
            AggregateKind::Min => return ordered.min().unwrap_or(Value::Null),
            AggregateKind::Max => return ordered.max().unwrap_or(Value::Null),
            _ => {}
        }
        if self.distinct {
            let keys: std::collections::BTreeSet<Value> = values.iter().map(|(v, _)| v.key()).collect();
            values = keys.into_iter().map(|v| (v, 1)).collect();
        }
        let count: i64 = values.iter().map(|(_, n)| n).sum();
        let floats = || values.iter().map(|(v, n)| v.as_float() * *n as f64).sum::<f64>() + 0.0;
        let canonical = |x: f64| float(if x.is_nan() { f64::NAN } else { x });
        let decimals =
            || values.iter().map(|(v, n)| if let Value::Decimal(x) = v { x * i128::from(*n) } else { 0 }).sum();
        match (self.kind, &self.output_type) {
            (AggregateKind::Count, _) => Value::Int(count),
            _ if count == 0 => Value::Null,
            (AggregateKind::Sum, DataType::Int64) => {
                Value::Int(values.iter().map(|(v, n)| if let Value::Int(x) = v { x * n } else { 0 }).sum())
            }
            (AggregateKind::Sum, DataType::Float64) => canonical(floats()),
            (AggregateKind::Avg, DataType::Float64) => canonical(floats() / count as f64),
            (AggregateKind::Sum, _) => Value::Decimal(decimals()),
            (AggregateKind::Avg, _) => Value::Decimal(decimals() * 10_000 / i128::from(count)),
            other => panic!("{other:?}"),
        }
    }
}

const JOINS: [JoinKind; 7] =
    [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti, JoinKind::Mark];

/// Random queries over objects `1..=objects`.
pub struct Generator<'a> {
    pub random: &'a mut Random,
    pub objects: u32,
}

impl Generator<'_> {
    pub fn query(&mut self, depth: usize) -> Query {
        if depth == 0 {
            return self.input();
        }
        match self.random.below(11) {
            0 | 1 => {
                let input = Box::new(self.query(depth - 1));
                let predicate = self.predicate(&input.types());
                Query::Filter { input, predicate }
            }
            2 | 3 => {
                let input = self.query(depth - 1);
                self.project(input)
            }
            4 => self.union(depth),
            5..8 => self.join(depth),
            _ => self.aggregate(depth),
        }
    }

    fn input(&mut self) -> Query {
        let object = ObjectId(1 + self.random.below(self.objects as usize) as u32);
        let width = object_types().len();
        let columns = match self.random.below(8) {
            0 => vec![],
            1 => (0..width).rev().collect(),
            2 => vec![self.random.below(width), self.random.below(width)],
            _ => (0..width).collect(),
        };
        Query::Input { object, columns }
    }

    fn column_of(&mut self, types: &[DataType], wanted: &DataType) -> Option<usize> {
        let found: Vec<usize> = (0..types.len()).filter(|at| types[*at] == *wanted).collect();
        (!found.is_empty()).then(|| *self.random.pick(&found))
    }

    fn int(&mut self, types: &[DataType]) -> Scalar {
        let literal = Scalar::Lit(Value::Int(self.random.below(4) as i64 - 1));
        match self.column_of(types, &DataType::Int64) {
            None => literal,
            Some(at) if self.random.chance(10) => {
                Scalar::Binary(Box::new(Scalar::Lit(Value::Int(6))), Op::Divide, Box::new(Scalar::Column(at)))
            }
            Some(at) if self.random.chance(50) => Scalar::Column(at),
            Some(at) => Scalar::Binary(Box::new(Scalar::Column(at)), Op::Plus, Box::new(literal)),
        }
    }

    fn predicate(&mut self, types: &[DataType]) -> Scalar {
        let binary = |a, op, b| Scalar::Binary(Box::new(a), op, Box::new(b));
        match self.random.below(6) {
            0 if !types.is_empty() => Scalar::IsNull(Box::new(Scalar::Column(self.random.below(types.len())))),
            1 => {
                let (a, b) = (self.predicate(types), self.predicate(types));
                binary(a, *self.random.pick(&[Op::And, Op::Or]), b)
            }
            2 => match self.column_of(types, &DataType::Utf8) {
                Some(at) => binary(Scalar::Column(at), Op::Equal, Scalar::Lit(Value::Text("b".into()))),
                None => binary(Scalar::Lit(Value::Int(0)), Op::Less, self.int(types)),
            },
            op => {
                let (a, b) = (self.int(types), self.int(types));
                binary(a, if op == 3 { Op::Equal } else { Op::Less }, b)
            }
        }
    }

    fn project(&mut self, input: Query) -> Query {
        let types = input.types();
        let mut exprs = vec![];
        for _ in 0..1 + self.random.below(3) {
            exprs.push(if types.is_empty() || self.random.chance(40) {
                (self.int(&types), DataType::Int64)
            } else {
                let at = self.random.below(types.len());
                (Scalar::Column(at), types[at].clone())
            });
        }
        Query::Project { input: Box::new(input), exprs }
    }

    fn union(&mut self, depth: usize) -> Query {
        let first = self.query(depth - 1);
        let types = first.types();
        let mut inputs = vec![first];
        for _ in 0..1 + self.random.below(2) {
            let input = self.query(depth - 1);
            let from = input.types();
            let exprs: Option<Vec<(Scalar, DataType)>> =
                types.iter().map(|t| Some((Scalar::Column(self.column_of(&from, t)?), t.clone()))).collect();
            let matching = exprs.map(|exprs| Query::Project { input: Box::new(input), exprs });
            inputs.push(matching.unwrap_or_else(|| inputs[0].clone()));
        }
        Query::Union { inputs }
    }

    fn join(&mut self, depth: usize) -> Query {
        let left = self.query(depth - 1);
        let right = if self.random.chance(20) { left.clone() } else { self.query(depth - 1) };
        let (left_types, right_types) = (left.types(), right.types());
        let mut on = vec![];
        for _ in 0..1 + self.random.below(2) {
            if !left_types.is_empty() {
                let at = self.random.below(left_types.len());
                on.extend(self.column_of(&right_types, &left_types[at]).map(|other| (at, other)));
            }
        }
        let all = [left_types, right_types].concat();
        let filter = self.random.chance(30).then(|| self.predicate(&all));
        let nulls = self.random.chance(30);
        let kind = *self.random.pick(&JOINS);
        Query::Join { kind, left: Box::new(left), right: Box::new(right), on, filter, nulls }
    }

    fn aggregate(&mut self, depth: usize) -> Query {
        let input = self.query(depth - 1);
        let types = input.types();
        let mut keys = vec![];
        for _ in 0..self.random.below(3) {
            if !types.is_empty() {
                let at = self.random.below(types.len());
                keys.push((Scalar::Column(at), types[at].clone()));
            }
        }
        let distinct_only = !keys.is_empty() && self.random.chance(20);
        let calls = if distinct_only { 0 } else { 1 + self.random.below(4) };
        let calls = (0..calls).map(|_| self.call(&types)).collect();
        Query::Aggregate { input: Box::new(input), keys, calls }
    }

    fn call(&mut self, types: &[DataType]) -> Call {
        let filter = self.random.chance(25).then(|| self.predicate(types));
        let distinct = self.random.chance(30);
        if types.is_empty() || self.random.chance(15) {
            let (argument_type, output_type) = (DataType::Null, DataType::Int64);
            return Call {
                kind: AggregateKind::Count,
                argument: None,
                filter,
                distinct: false,
                argument_type,
                output_type,
            };
        }
        let at = self.random.below(types.len());
        let kinds =
            [AggregateKind::Count, AggregateKind::Min, AggregateKind::Max, AggregateKind::Sum, AggregateKind::Avg];
        let numeric = !matches!(types[at], DataType::Utf8 | DataType::Boolean);
        let kind = kinds[self.random.below(if numeric { 5 } else { 3 })];
        let output_type = match (kind, &types[at]) {
            (AggregateKind::Count, _) => DataType::Int64,
            (AggregateKind::Min | AggregateKind::Max, t) => t.clone(),
            (AggregateKind::Sum, DataType::Decimal128(p, s)) => DataType::Decimal128(38.min(p + 10), *s),
            (AggregateKind::Avg, DataType::Decimal128(p, s)) => DataType::Decimal128(38.min(p + 4), 38.min(s + 4)),
            (AggregateKind::Avg, _) => DataType::Float64,
            (AggregateKind::Sum, t) => t.clone(),
        };
        let argument = match types[at] {
            DataType::Int64 if self.random.chance(30) => Some(self.int(types)),
            _ => Some(Scalar::Column(at)),
        };
        Call { kind, argument, filter, distinct, argument_type: types[at].clone(), output_type }
    }
}
