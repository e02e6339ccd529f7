//! Every supported type as group key, join key, argument of min, max and distinct count, and in saved state.
//!
//! The oracle is the dataflow itself, run once over the net input: what was inserted and retracted must not show.

use crate::{Store, rows::schema_of};
use arrow::array::*;
use arrow::datatypes::*;
use arrow::util::display::array_value_to_string;
use datafusion_physical_expr::expressions::Column;
use millpond_engine::ObjectId;
use millpond_engine::dataflow::Dataflow;
use millpond_engine::delta::Delta;
use millpond_engine::plan::{Aggregate, AggregateKind, Expr, JoinKind, Plan};
use millpond_engine::relation::Relation;
use millpond_engine::row_error::RowErrors;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const OBJECT: ObjectId = ObjectId(1);

/// Three values and NULL of each supported type.
fn arrays() -> Vec<ArrayRef> {
    let interval = IntervalMonthDayNano::new;
    let zoned = TimestampMicrosecondArray::from(vec![Some(5), Some(-7), None, Some(9)]).with_timezone("UTC");
    vec![
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)])),
        Arc::new(Int16Array::from(vec![Some(5), Some(-7), None, Some(9)])),
        Arc::new(Int32Array::from(vec![Some(5), Some(-7), None, Some(9)])),
        Arc::new(Int64Array::from(vec![Some(5), Some(i64::MIN), None, Some(9)])),
        Arc::new(Float32Array::from(vec![Some(5.5), Some(f32::NEG_INFINITY), None, Some(f32::NAN)])),
        Arc::new(Float64Array::from(vec![Some(5.5), Some(-0.25), None, Some(f64::NAN)])),
        Arc::new(
            Decimal128Array::from(vec![Some(5), Some(-(10i128.pow(38) - 1)), None, Some(9)])
                .with_precision_and_scale(38, 3)
                .unwrap(),
        ),
        Arc::new(StringArray::from(vec![Some(""), Some("né"), None, Some("a text longer than a view's inline part")])),
        Arc::new(StringViewArray::from(vec![
            Some(""),
            Some("né"),
            None,
            Some("a text longer than a view's inline part"),
        ])),
        Arc::new(LargeStringArray::from(vec![Some(""), Some("né"), None, Some("z")])),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(b""), Some(b"\0\xff"), None, Some(b"\0")])),
        Arc::new(Date32Array::from(vec![Some(5), Some(-7), None, Some(9)])),
        Arc::new(Time64MicrosecondArray::from(vec![Some(5), Some(7), None, Some(9)])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(5), Some(-7), None, Some(9)])),
        Arc::new(zoned),
        Arc::new(IntervalMonthDayNanoArray::from(vec![
            Some(interval(1, 2, 3)),
            Some(interval(-1, 0, i64::MIN)),
            None,
            Some(interval(0, 0, 9)),
        ])),
    ]
}

fn plans(data_type: &DataType) -> Vec<Plan> {
    let column: Expr = Arc::new(Column::new("c0", 0));
    let input = || Box::new(Plan::Input { object: OBJECT, columns: vec![0], schema: schema_of(&[data_type.clone()]) });
    let call = |kind, distinct, output_type: &DataType| Aggregate {
        kind,
        argument: Some(column.clone()),
        filter: None,
        distinct,
        argument_type: data_type.clone(),
        output_type: output_type.clone(),
    };
    let calls = || {
        vec![
            call(AggregateKind::Min, false, data_type),
            call(AggregateKind::Max, false, data_type),
            call(AggregateKind::Count, true, &DataType::Int64),
            call(AggregateKind::Count, false, &DataType::Int64),
        ]
    };
    let results = [data_type.clone(), data_type.clone(), DataType::Int64, DataType::Int64];
    let keyed = [std::slice::from_ref(data_type), &results[..]].concat();
    vec![
        Plan::Aggregate { input: input(), keys: vec![], aggregates: calls(), schema: schema_of(&results) },
        Plan::Aggregate { input: input(), keys: vec![column.clone()], aggregates: calls(), schema: schema_of(&keyed) },
        Plan::Join {
            kind: JoinKind::Full,
            left: input(),
            right: input(),
            on: vec![(column.clone(), column.clone())],
            filter: None,
            null_equals_null: true,
            schema: schema_of(&[data_type.clone(), data_type.clone()]),
        },
    ]
}

fn printed(relation: &mut Relation) -> BTreeMap<Vec<String>, usize> {
    let mut rows = BTreeMap::new();
    for batch in relation.snapshot().batches().unwrap() {
        for at in 0..batch.num_rows() {
            let text = |c: &ArrayRef| if c.is_null(at) { "NULL".into() } else { array_value_to_string(c, at).unwrap() };
            *rows.entry(batch.columns().iter().map(text).collect()).or_default() += 1;
        }
    }
    rows
}

#[test]
fn every_type_survives_retraction_and_restart() {
    for values in arrays() {
        let delta = |rows: &[u32], weight: i64| {
            let column = arrow::compute::take(&values, &UInt32Array::from(rows.to_vec()), None).unwrap();
            let batch = RecordBatch::try_new(schema_of(&[values.data_type().clone()]), vec![column]).unwrap();
            HashMap::from([(OBJECT, vec![Delta::weighted(batch, vec![weight; rows.len()])])])
        };
        for (at, plan) in plans(values.data_type()).into_iter().enumerate() {
            for append_only in [false, true] {
                let new = || {
                    let never = |_| append_only;
                    let relation = Relation::new(plan.schema(), plan.is_append_only(&never), None, 4);
                    (Dataflow::new(&plan, &never, 4).unwrap(), relation)
                };
                let (mut dataflow, mut relation) = new();
                let mut store = (Store::default(), Store::default());
                let step = |(d, r): (&mut Dataflow, &mut Relation), rows: &[u32], w| {
                    r.apply(&d.step(&delta(rows, w), &mut RowErrors::default()).unwrap())
                };
                step((&mut dataflow, &mut relation), &[0, 1, 2, 3, 3], 1).unwrap();
                dataflow.save(&mut store.0).unwrap();
                relation.save(&mut store.1).unwrap();
                (dataflow, relation) = new();
                dataflow.load(&store.0).unwrap();
                relation.load(&store.1).unwrap();
                let net: &[u32] = if append_only { &[0, 1, 2, 3, 3, 0] } else { &[0, 0] };
                step((&mut dataflow, &mut relation), &[0], 1).unwrap();
                if !append_only {
                    step((&mut dataflow, &mut relation), &[1, 3, 2, 3], -1).unwrap();
                }
                let mut fresh = new();
                step((&mut fresh.0, &mut fresh.1), net, 1).unwrap();
                let context = format!("{} plan {at} append-only {append_only}", values.data_type());
                assert_eq!(printed(&mut relation), printed(&mut fresh.1), "{context}");
                assert!(relation.row_count() > 0, "{context}");
            }
        }
    }
}

#[test]
fn other_types_are_refused_at_creation() {
    let plan =
        Plan::Input { object: OBJECT, columns: vec![0], schema: schema_of(&[DataType::Duration(TimeUnit::Second)]) };
    let refused = Dataflow::new(&plan, &|_| true, 1);
    assert!(matches!(refused, Err(millpond_engine::Error::Unsupported(m)) if m.contains("Duration")));
}
