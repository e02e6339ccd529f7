//! The law of views, against an oracle that recomputes every query row by row: after any tick, what was emitted sums
//! up to the query over all input so far — for random queries, inserts, deletes, duplicates, cancellation within a
//! tick, NULLs, batch boundaries and restarts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod query;
mod rows;
mod types;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_physical_expr::expressions::Column;
use millpond_engine::dataflow::Dataflow;
use millpond_engine::delta::Delta;
use millpond_engine::plan::{Aggregate, AggregateKind, JoinKind, Plan};
use millpond_engine::relation::{Relation, RelationSnapshot};
use millpond_engine::row_error::RowErrors;
use millpond_engine::state::{StateReader, StateWriter};
use millpond_engine::{Error, ObjectId, Result};
use query::{Generator, Query, object_types};
use rows::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const SEEDS: u64 = 300;
/// Object 1 and 2 retract, object 3 never does.
const OBJECTS: u32 = 3;
const APPEND_ONLY: ObjectId = ObjectId(3);

/// A state store in memory.
#[derive(Clone, Debug, Default)]
struct Store(BTreeMap<Vec<u8>, Vec<u8>>);

impl StateWriter for Store {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.insert(key.to_vec(), value.to_vec());
    }

    fn delete(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

impl StateReader for Store {
    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        self.0.range(prefix.to_vec()..).take_while(|(k, _)| k.starts_with(prefix)).try_for_each(|(k, v)| visit(k, v))
    }
}

fn append_only(object: ObjectId) -> bool {
    object == APPEND_ONLY
}

/// A view: a dataflow and the relation it feeds.
struct View {
    query: Query,
    seed: u64,
    dataflow: Dataflow,
    relation: Relation,
    errors: RowErrors,
}

impl View {
    fn new(query: Query, seed: u64) -> View {
        let plan = query.lower();
        let dataflow = Dataflow::new(&plan, &append_only, seed).unwrap();
        let relation = Relation::new(plan.schema(), plan.is_append_only(&append_only), None, seed);
        View { query, seed, dataflow, relation, errors: RowErrors::default() }
    }

    fn step(&mut self, inputs: &HashMap<ObjectId, Vec<Delta>>) -> Result<Vec<Delta>> {
        let mut errors = RowErrors::default();
        let out = self.dataflow.step(inputs, &mut errors)?;
        self.relation.apply(&out)?;
        self.errors.apply(errors);
        Ok(out)
    }

    fn save(&mut self, store: &mut (Store, Store)) {
        self.dataflow.save(&mut store.0).unwrap();
        self.relation.save(&mut store.1).unwrap();
    }

    fn restarted(&self, store: &(Store, Store)) -> View {
        let mut view = View::new(self.query.clone(), self.seed);
        view.dataflow.load(&store.0).unwrap();
        view.relation.load(&store.1).unwrap();
        view.errors = self.errors.clone();
        view
    }

    fn rows(&mut self) -> Rows {
        rows_in(&self.relation.snapshot())
    }
}

fn rows_in(snapshot: &RelationSnapshot) -> Rows {
    let mut rows = Rows::new();
    let batches = snapshot.batches().unwrap();
    batches.iter().flat_map(rows_of).for_each(|row| add(&mut rows, row, 1));
    assert_eq!(rows.values().sum::<i64>() as u64, snapshot.row_count());
    rows
}

fn random_value(random: &mut Random, data_type: &DataType) -> Value {
    if random.chance(15) {
        return Value::Null;
    }
    match data_type {
        DataType::Int64 => Value::Int(random.below(5) as i64 - 2),
        DataType::Utf8 => Value::Text(random.pick(&["", "a", "b", "a longer text than the others"]).to_string()),
        DataType::Float64 => {
            let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0];
            let plain = random.below(40) as f64 / 8.0 - 2.0;
            float(if random.chance(25) { *random.pick(&special) } else { plain })
        }
        _ => Value::Decimal(random.below(9) as i128 * 50 - 200),
    }
}

fn random_row(random: &mut Random) -> Row {
    object_types().iter().map(|t| random_value(random, t)).collect()
}

/// The signed rows of one tick for one object, in any order; `live` becomes the object after the tick.
fn random_changes(random: &mut Random, live: &mut Rows, retracts: bool) -> Vec<(Row, i64)> {
    let mut changes = vec![];
    for _ in 0..random.below(8) {
        changes.push((random_row(random), if random.chance(20) { 1 + random.below(3) as i64 } else { 1 }));
    }
    if retracts {
        for _ in 0..random.below(7) {
            if let Some((row, n)) = live.iter().nth(random.below(live.len().max(1))).map(|(r, n)| (r.clone(), *n)) {
                let gone = if random.chance(50) { n } else { 1 };
                add(live, row.clone(), -gone);
                changes.push((row.clone(), -gone));
                if random.chance(30) {
                    changes.push((row, gone));
                }
            }
        }
        if random.chance(30) {
            // Comes and goes within the tick.
            let row = random_row(random);
            changes.extend([(row.clone(), 1), (row, -1)]);
        }
    }
    for at in (1..changes.len()).rev() {
        changes.swap(at, random.below(at + 1));
    }
    changes
}

fn random_deltas(random: &mut Random, mut changes: &[(Row, i64)]) -> Vec<Delta> {
    let mut deltas = vec![];
    while !changes.is_empty() {
        let (part, rest) = changes.split_at(1 + random.below(changes.len()));
        let rows: Vec<Row> = part.iter().map(|(row, _)| row.clone()).collect();
        let weights: Vec<i64> = part.iter().map(|(_, weight)| *weight).collect();
        let batch = batch_of(&object_types(), &rows);
        let plain = weights.iter().all(|w| *w == 1) && random.chance(80);
        deltas.push(if plain { Delta::inserts(batch) } else { Delta::weighted(batch, weights) });
        changes = rest;
    }
    deltas
}

fn random_tick(random: &mut Random, objects: &mut BTreeMap<ObjectId, Rows>) -> HashMap<ObjectId, Vec<Delta>> {
    let mut inputs = HashMap::new();
    for id in (1..=OBJECTS).map(ObjectId) {
        if random.chance(70) {
            let live = objects.entry(id).or_default();
            let mut before = live.clone();
            let changes = random_changes(random, &mut before, !append_only(id));
            changes.iter().for_each(|(row, weight)| add(live, row.clone(), *weight));
            assert!(live.values().all(|n| *n > 0));
            inputs.insert(id, random_deltas(random, &changes));
        }
    }
    inputs
}

fn printed(deltas: &[Delta]) -> Vec<(Row, i64)> {
    let rows =
        |delta: &Delta| rows_of(&delta.batch).into_iter().enumerate().map(|(at, r)| (r, delta.weight(at))).collect();
    deltas.iter().flat_map(|delta: &Delta| -> Vec<_> { rows(delta) }).collect()
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let depth = 1 + random.below(3);
    let query = Generator { random: &mut random, objects: OBJECTS }.query(depth);
    let context = format!("seed {seed}: {query:?}");
    let only_adds = query.lower().is_append_only(&append_only);
    let mut view = View::new(query, seed);
    let mut twin: Option<View> = None;
    let mut store = (Store::default(), Store::default());
    let mut objects = BTreeMap::new();
    let mut sum = Rows::new();
    for tick in 0..12 {
        let inputs =
            if tick == 0 && random.chance(50) { HashMap::new() } else { random_tick(&mut random, &mut objects) };
        let out = view.step(&inputs).unwrap_or_else(|e| panic!("{e}: tick {tick}, {context}"));
        let emitted = printed(&out);
        if let Some(twin) = &mut twin {
            assert_eq!(printed(&twin.step(&inputs).unwrap()), emitted, "restarted twin, tick {tick}, {context}");
        }
        out.iter().for_each(|delta| add_delta(&mut sum, delta));
        let mut failed = 0;
        let expected = view.query.evaluate(&objects, &mut failed);
        assert_eq!(sum, expected, "tick {tick}, {context}");
        assert_eq!(view.errors.total(), failed, "rows that fail, tick {tick}, {context}");
        assert_eq!(view.errors.example().is_some(), failed > 0, "tick {tick}, {context}");
        assert_eq!(view.rows(), expected, "relation, tick {tick}, {context}");
        if only_adds {
            assert!(emitted.iter().all(|(_, weight)| *weight > 0), "tick {tick}, {context}");
        } else {
            let mut keys: Vec<&Row> = emitted.iter().map(|(row, _)| row).collect();
            keys.sort();
            let retracting = emitted.iter().any(|(_, weight)| *weight < 0);
            let unique = keys.windows(2).all(|pair| pair[0] != pair[1]);
            assert!(unique || !retracting, "churn is published, tick {tick}, {context}");
        }
        if random.chance(40) {
            view.save(&mut store);
            if random.chance(50) {
                view = view.restarted(&store);
            } else {
                twin = Some(view.restarted(&store));
            }
        }
    }
}

#[test]
fn incremental_equals_recomputed() {
    (0..SEEDS).for_each(run);
}

#[test]
fn fingerprint_sees_the_plan_and_nothing_else() {
    let mut seen = HashMap::new();
    for seed in 0..300 {
        let query = |seed| {
            let mut random = Random::new(seed);
            Generator { random: &mut random, objects: OBJECTS }.query(2)
        };
        let print = Dataflow::fingerprint(&query(seed).lower());
        assert_eq!(print, Dataflow::fingerprint(&query(seed).lower()));
        let text = format!("{:?}", query(seed));
        let other = seen.entry(print).or_insert_with(|| text.clone());
        assert_eq!(*other, text);
    }
}

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn pairs(rows: &[(i64, i64)]) -> arrow::array::RecordBatch {
    let columns = vec![ints(rows.iter().map(|r| r.0)), ints(rows.iter().map(|r| r.1))];
    arrow::array::RecordBatch::try_new(schema_of(&[DataType::Int64, DataType::Int64]), columns).unwrap()
}

fn pairs_in(snapshot: &RelationSnapshot) -> Vec<(i64, i64)> {
    let mut out = vec![];
    for batch in snapshot.batches().unwrap() {
        let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().values().to_vec();
        out.extend(column(0).into_iter().zip(column(1)));
    }
    out.sort();
    out
}

/// Many chunks, updates of most rows, compaction, snapshots in between, saves and a restart.
#[test]
fn a_large_keyed_relation_under_churn() {
    let schema = schema_of(&[DataType::Int64, DataType::Int64]);
    let new = || Relation::new(schema.clone(), false, Some(vec![0]), 9);
    let (mut relation, mut store) = (new(), Store::default());
    let mut expected: BTreeMap<i64, i64> = BTreeMap::new();
    let mut random = Random::new(1);
    let mut old_snapshots = vec![];
    for tick in 0..60 {
        let mut changes: Vec<((i64, i64), i64)> = vec![];
        for _ in 0..2000 {
            let key = random.below(20_000) as i64;
            if let Some(old) = expected.remove(&key) {
                changes.push(((key, old), -1));
            }
            if random.chance(80) {
                let value = random.below(1000) as i64;
                expected.insert(key, value);
                changes.push(((key, value), 1));
            }
        }
        let rows: Vec<(i64, i64)> = changes.iter().map(|(row, _)| *row).collect();
        relation.apply(&[Delta::weighted(pairs(&rows), changes.iter().map(|(_, w)| *w).collect())]).unwrap();
        let now: Vec<(i64, i64)> = expected.iter().map(|(k, v)| (*k, *v)).collect();
        assert_eq!(pairs_in(&relation.snapshot()), now, "tick {tick}");
        assert_eq!(relation.row_count(), now.len() as u64);
        let keys: Vec<i64> = (0..50).map(|_| random.below(20_000) as i64).collect();
        let found = relation.contains_keys(&[ints(keys.clone())], keys.len()).unwrap();
        assert_eq!(found, keys.iter().map(|k| expected.contains_key(k)).collect::<Vec<_>>(), "tick {tick}");
        if tick % 7 == 0 {
            old_snapshots.push((relation.snapshot(), now));
        }
        if tick % 5 == 0 {
            relation.save(&mut store).unwrap();
            if tick % 10 == 0 {
                relation = new();
                relation.load(&store).unwrap();
            }
        }
    }
    for (snapshot, rows) in old_snapshots {
        assert_eq!(pairs_in(&snapshot), rows, "a snapshot changed after it was taken");
    }
    let bytes: usize = store.0.values().map(Vec::len).sum();
    assert!(bytes < 2_000_000, "stale chunks are left in the store: {bytes} bytes");
}

/// One key on both sides: more matches than fit a chunk, with duplicates, then all retracted again.
#[test]
fn a_join_with_large_fan_out() {
    let input = |object| Query::Input { object: ObjectId(object), columns: vec![0, 1] };
    let (left, right) = (Box::new(input(1)), Box::new(input(2)));
    let query = Query::Join { kind: JoinKind::Inner, left, right, on: vec![(0, 0)], filter: None, nulls: false };
    let mut dataflow = Dataflow::new(&query.lower(), &|_| false, 5).unwrap();
    let rows = |n: i64| -> Vec<Row> {
        let row = |i: i64| {
            vec![Value::Int(i % 2), Value::Text(format!("{}", i / 2 % 100)), Value::Null, Value::Null, Value::Null]
        };
        (0..n).map(row).collect()
    };
    let delta = |n: i64, weight: i64| Delta::weighted(batch_of(&object_types(), &rows(n)), vec![weight; n as usize]);
    let tick = |object: u32, delta: Delta| HashMap::from([(ObjectId(object), vec![delta])]);
    let mut count = |inputs| -> i64 {
        let out = dataflow.step(&inputs, &mut RowErrors::default()).unwrap();
        printed(&out).iter().map(|(_, w)| w).sum()
    };
    assert_eq!(count(tick(1, delta(400, 1))), 0);
    assert_eq!(count(tick(2, delta(300, 1))), 2 * 200 * 150);
    assert_eq!(count(tick(1, delta(400, -1))), -2 * 200 * 150);
    assert_eq!(count(tick(1, delta(2, 1))), 2 * 150);
}

/// Degrees stay those of their rows when most rows of a side have gone and the rest are moved together, and across a restart.
#[test]
fn degrees_move_with_their_rows() {
    let input = |object| Box::new(Query::Input { object: ObjectId(object), columns: vec![0, 4] });
    let filter = Some(query::Scalar::Binary(
        Box::new(query::Scalar::Column(1)),
        query::Op::Less,
        Box::new(query::Scalar::Column(3)),
    ));
    let full =
        Query::Join { kind: JoinKind::Full, left: input(1), right: input(2), on: vec![(0, 0)], filter, nulls: false };
    let mut view = View::new(full, 8);
    let mut store = (Store::default(), Store::default());
    let mut random = Random::new(4);
    let mut objects: BTreeMap<ObjectId, Rows> = BTreeMap::new();
    let row = |key: usize, value: usize| {
        vec![Value::Int(key as i64), Value::Null, Value::Null, Value::Null, Value::Int(value as i64)]
    };
    for round in 0..6 {
        let mut inputs = HashMap::new();
        for object in [ObjectId(1), ObjectId(2)] {
            let live = objects.entry(object).or_default();
            let mut changes: Vec<(Row, i64)> =
                live.iter().filter(|_| random.chance(85)).map(|(row, n)| (row.clone(), -n)).collect();
            changes.extend((0..15_000).map(|_| (row(random.below(4000), random.below(50)), 1)));
            changes.iter().for_each(|(row, weight)| add(live, row.clone(), *weight));
            let rows: Vec<Row> = changes.iter().map(|(row, _)| row.clone()).collect();
            let weights = changes.iter().map(|(_, weight)| *weight).collect();
            inputs.insert(object, vec![Delta::weighted(batch_of(&object_types(), &rows), weights)]);
        }
        view.step(&inputs).unwrap();
        // Of the pairs only those of one key: the oracle looks at all of them.
        for key in 0..5 {
            let of_key = |rows: &Rows| rows.clone().into_iter().filter(|(row, _)| row[0] == Value::Int(key)).collect();
            let some = objects.iter().map(|(id, rows)| (*id, of_key(rows))).collect();
            let found: Rows =
                view.rows().into_iter().filter(|(r, _)| [&r[0], &r[2]].contains(&&Value::Int(key))).collect();
            assert_eq!(found, view.query.evaluate(&some, &mut 0), "key {key}, round {round}");
        }
        view.save(&mut store);
        if round % 2 == 1 {
            view = view.restarted(&store);
        }
    }
}

/// Without an equality every row meets every other: what would take hours ends with an error.
#[test]
fn a_step_that_compares_too_many_pairs_is_refused() {
    let input = |object| Box::new(Query::Input { object: ObjectId(object), columns: vec![] });
    let query = |kind| Query::Join { kind, left: input(1), right: input(2), on: vec![], filter: None, nulls: false };
    let row = vec![Value::Null; object_types().len()];
    let tick = |dataflow: &mut Dataflow, object: u32, rows: usize| {
        let delta = Delta::inserts(batch_of(&object_types(), &vec![row.clone(); rows]));
        let out = dataflow.step(&HashMap::from([(ObjectId(object), vec![delta])]), &mut RowErrors::default())?;
        Ok::<usize, Error>(out.iter().map(Delta::rows).sum())
    };
    let mut pairs = Dataflow::new(&query(JoinKind::Inner).lower(), &|_| true, 5).unwrap();
    assert_eq!(tick(&mut pairs, 1, 20_000).unwrap(), 0);
    assert_eq!(tick(&mut pairs, 2, 100).unwrap(), 2_000_000);
    assert!(matches!(tick(&mut pairs, 2, 15_000), Err(Error::Limit(message)) if message.contains("equality")));
    // Where only keys decide, a key is looked at once.
    let mut exists = Dataflow::new(&query(JoinKind::Semi).lower(), &|_| true, 5).unwrap();
    assert_eq!(tick(&mut exists, 1, 20_000).unwrap(), 0);
    assert_eq!(tick(&mut exists, 2, 15_000).unwrap(), 20_000);
}

/// The groups of a large aggregate come, change and go; slots are reused.
#[test]
fn many_groups_come_and_go() {
    let input = Box::new(Query::Input { object: ObjectId(1), columns: (0..5).collect() });
    let mut random = Random::new(3);
    let mut generator = Generator { random: &mut random, objects: 1 };
    let Query::Aggregate { calls, .. } = std::iter::repeat_with(|| generator.query(1))
        .find(|q| matches!(q, Query::Aggregate { calls, .. } if calls.len() > 2))
        .unwrap()
    else {
        unreachable!()
    };
    let keys = vec![(query::Scalar::Column(1), DataType::Utf8)];
    let mut view = View::new(Query::Aggregate { input, keys, calls }, 3);
    let mut store = (Store::default(), Store::default());
    let mut objects: BTreeMap<ObjectId, Rows> = BTreeMap::new();
    for round in 0..6 {
        let mut changes: Vec<(Row, i64)> = vec![];
        let live = objects.entry(ObjectId(1)).or_default();
        changes.extend(live.iter().filter(|_| random.chance(60)).map(|(row, n)| (row.clone(), -n)));
        for _ in 0..3000 {
            let mut row = random_row(&mut random);
            row[1] = Value::Text(format!("group {}", random.below(4000)));
            changes.push((row, 1));
        }
        changes.iter().for_each(|(row, n)| add(live, row.clone(), *n));
        let inputs = HashMap::from([(ObjectId(1), random_deltas(&mut random, &changes))]);
        view.step(&inputs).unwrap();
        assert!(view.rows() == view.query.evaluate(&objects, &mut 0), "round {round}");
        view.save(&mut store);
        view = view.restarted(&store);
    }
}

#[test]
fn too_many_retractions_are_an_error() {
    let mut relation = Relation::new(schema_of(&[DataType::Int64, DataType::Int64]), false, None, 1);
    relation.apply(&[Delta::inserts(pairs(&[(1, 1)]))]).unwrap();
    let twice = Delta::weighted(pairs(&[(1, 1), (1, 1)]), vec![-1, -1]);
    assert!(matches!(relation.apply(&[twice]), Err(Error::Internal(_))));
    let mut logged = Relation::new(schema_of(&[DataType::Int64, DataType::Int64]), true, None, 1);
    let gone = Delta::weighted(pairs(&[(1, 1)]), vec![-1]);
    assert!(matches!(logged.apply(std::slice::from_ref(&gone)), Err(Error::Internal(_))));

    let input = Box::new(Query::Input { object: ObjectId(1), columns: vec![0] });
    let keys = vec![(query::Scalar::Column(0), DataType::Int64)];
    let query = Query::Aggregate { input, keys, calls: vec![] };
    let mut dataflow = Dataflow::new(&query.lower(), &append_only, 1).unwrap();
    let inputs = HashMap::from([(ObjectId(1), vec![gone])]);
    assert!(matches!(dataflow.step(&inputs, &mut RowErrors::default()), Err(Error::Internal(_))));
}

/// The sum of one group passes its type and comes back; the other group's row is there all the time.
#[test]
fn a_result_that_does_not_fit_is_an_error_of_its_group() {
    let types = [DataType::Int64, DataType::Int64];
    let sum = Aggregate {
        kind: AggregateKind::Sum,
        argument: Some(Arc::new(Column::new("c1", 1))),
        filter: None,
        distinct: false,
        argument_type: DataType::Int64,
        output_type: DataType::Int64,
    };
    let plan = Plan::Aggregate {
        input: Box::new(Plan::Input { object: ObjectId(1), columns: vec![0, 1], schema: schema_of(&types) }),
        keys: vec![Arc::new(Column::new("c0", 0))],
        aggregates: vec![sum],
        schema: schema_of(&types),
    };
    let mut dataflow = Dataflow::new(&plan, &append_only, 1).unwrap();
    let mut store = Store::default();
    let (mut rows, mut errors) = (Rows::new(), RowErrors::default());
    let mut step = |dataflow: &mut Dataflow, changes: &[(i64, i64, i64)]| {
        let batch = pairs(&changes.iter().map(|(k, x, _)| (*k, *x)).collect::<Vec<_>>());
        let delta = Delta::weighted(batch, changes.iter().map(|(_, _, weight)| *weight).collect());
        let mut of_step = RowErrors::default();
        let out = dataflow.step(&HashMap::from([(ObjectId(1), vec![delta])]), &mut of_step).unwrap();
        out.iter().for_each(|delta| add_delta(&mut rows, delta));
        errors.apply(of_step);
        let rows: Vec<(Value, Value)> = rows.keys().map(|row| (row[0].clone(), row[1].clone())).collect();
        (rows, errors.total(), errors.example().map(|e| e.message.clone()))
    };
    let row = |key, sum| (Value::Int(key), Value::Int(sum));
    let out_of_range = Some("bigint out of range".to_string());
    assert_eq!(step(&mut dataflow, &[(1, 5, 1), (2, i64::MAX, 1)]), (vec![row(1, 5), row(2, i64::MAX)], 0, None));
    assert_eq!(step(&mut dataflow, &[(2, 1, 1), (3, 3, 1)]), (vec![row(1, 5), row(3, 3)], 1, out_of_range.clone()));
    dataflow.save(&mut store).unwrap();
    let mut dataflow = Dataflow::new(&plan, &append_only, 1).unwrap();
    dataflow.load(&store).unwrap();
    assert_eq!(step(&mut dataflow, &[(2, 7, 1), (1, 5, -1)]), (vec![row(3, 3)], 1, out_of_range));
    let back = [(2, 7, -1), (2, i64::MAX, -1)];
    assert_eq!(step(&mut dataflow, &back), (vec![row(2, 1), row(3, 3)], 0, None));
}

/// An append-only relation repeats rows of weight > 1 and keeps tiny appends in few chunks.
#[test]
fn an_append_only_relation_keeps_every_row() {
    let schema = schema_of(&[DataType::Int64, DataType::Int64]);
    let (mut relation, mut store) = (Relation::new(schema.clone(), true, None, 1), Store::default());
    for i in 0..20_000 {
        let batch = pairs(&[(i, i)]);
        let delta = if i % 3 == 0 { Delta::weighted(batch, vec![2]) } else { Delta::inserts(batch) };
        relation.apply(&[delta]).unwrap();
        if i % 1999 == 0 {
            relation.save(&mut store).unwrap();
        }
    }
    relation.save(&mut store).unwrap();
    let expected: Vec<(i64, i64)> =
        (0..20_000).flat_map(|i| std::iter::repeat_n((i, i), if i % 3 == 0 { 2 } else { 1 })).collect();
    assert_eq!(pairs_in(&relation.snapshot()), expected);
    assert!(relation.snapshot().batches().unwrap().len() < 20);
    let mut again = Relation::new(schema, true, None, 1);
    again.load(&store).unwrap();
    assert_eq!(pairs_in(&again.snapshot()), expected);
    assert_eq!(again.row_count(), expected.len() as u64);
}

#[test]
fn damaged_state_is_an_error_and_never_a_panic() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let query = Generator { random: &mut random, objects: OBJECTS }.query(2);
        let mut view = View::new(query, seed);
        let (mut store, mut objects) = ((Store::default(), Store::default()), BTreeMap::new());
        for _ in 0..4 {
            view.step(&random_tick(&mut random, &mut objects)).unwrap();
        }
        view.save(&mut store);
        for _ in 0..20 {
            let mut bad = store.0.clone();
            let Some(key) = bad.0.keys().nth(random.below(bad.0.len().max(1))).cloned() else { continue };
            let value = bad.0.entry(key).or_default();
            value.truncate(random.below(value.len().max(1)));
            let mut dataflow = Dataflow::new(&view.query.lower(), &append_only, seed).unwrap();
            let _ = dataflow.load(&bad);
        }
    }
}

#[test]
fn text_lookups_by_key() {
    let schema = schema_of(&[DataType::Utf8, DataType::Int64]);
    let mut relation = Relation::new(schema, false, Some(vec![0]), 2);
    let row = |k: &str, v| vec![Value::Text(k.into()), Value::Int(v)];
    let batch = batch_of(&[DataType::Utf8, DataType::Int64], &[row("x", 1), row("y", 2)]);
    relation.apply(&[Delta::inserts(batch)]).unwrap();
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["y", "z", "x"]));
    assert_eq!(relation.contains_keys(std::slice::from_ref(&keys), 3).unwrap(), [true, false, true]);
    let found = |relation: &Relation, keys: &[&str]| {
        let keys: ArrayRef = Arc::new(StringArray::from(keys.to_vec()));
        let len = keys.len();
        rows_of(&relation.rows_with_keys(&[keys], len).unwrap())
    };
    assert_eq!(found(&relation, &["y", "z", "y"]), [row("y", 2)]);
    assert!(found(&relation, &["z"]).is_empty());
    let snapshot = relation.snapshot();
    assert!(relation.is_at(&snapshot));
    let batch = batch_of(&[DataType::Utf8, DataType::Int64], &[row("y", 2), row("y", 3)]);
    relation.apply(&[Delta::weighted(batch, vec![-1, 1])]).unwrap();
    assert!(!relation.is_at(&snapshot), "the index has moved on");
    assert_eq!(found(&relation, &["y", "x"]), [row("x", 1), row("y", 3)]);
}
