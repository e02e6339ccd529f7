//! The log against its promises: on a simulated disk that tears, fails and fills up, and once on a real one.

use super::*;
use crate::env::{RealEnv, SimEnv};
use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use std::collections::{BTreeMap, BTreeSet, HashMap};

mod damage;
mod failing_disks;
mod power_cuts;

const S1: ObjectId = ObjectId(1);
const S2: ObjectId = ObjectId(2);
const P0: PartitionId = PartitionId(0);
const P1: PartitionId = PartitionId(1);

fn dir() -> PathBuf {
    PathBuf::from("/db")
}

/// Small files, nothing in the background.
fn options() -> LogOptions {
    LogOptions { wal_segment_bytes: 8192, background_sealing: false, ..LogOptions::default() }
}

/// Small files, sealing all the time.
fn busy_options() -> LogOptions {
    LogOptions {
        wal_segment_bytes: 8192,
        wal_bytes_budget: 32 << 10,
        seal_bytes: 2000,
        seal_age: Duration::ZERO,
        tail_bytes_budget: 1 << 20,
        background_sealing: true,
    }
}

fn columns() -> Vec<Column> {
    let column = |name: &str, data_type| Column { name: name.into(), data_type, nullable: true };
    vec![column("id", DataType::Int64), column("tx", DataType::Int64), column("text", DataType::Utf8)]
}

/// Rows `ids` of transaction `tx`, each with some text.
fn rows(tx: i64, ids: &[i64], text_bytes: usize) -> RecordBatch {
    let text = "x".repeat(text_bytes);
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        Arc::new(Int64Array::from(vec![tx; ids.len()])),
        Arc::new(StringArray::from(vec![text.as_str(); ids.len()])),
    ];
    RecordBatch::try_new(schema_of(&columns()), arrays).unwrap()
}

fn append(stream: ObjectId, partition: PartitionId, batch: RecordBatch) -> Record {
    Record::Append { stream, partition, batch }
}

fn open_sim(env: &SimEnv, options: LogOptions) -> Result<(Log, Vec<CatalogRecord>)> {
    Log::open(Arc::new(env.clone()), &dir(), options)
}

fn start(env: &SimEnv) -> Log {
    let log = open_sim(env, options()).unwrap().0;
    log.create_stream(S1, &columns(), 2).unwrap();
    log
}

/// One row as read: offset, id, transaction, time of append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    offset: u64,
    id: i64,
    tx: i64,
    append_ts: i64,
}

fn read_rows(log: &Log, stream: ObjectId, partition: PartitionId, offsets: Range<Offset>) -> Vec<Row> {
    let mut out = Vec::new();
    let mut next = offsets.start;
    for piece in log.pieces(stream, partition, offsets.clone()).unwrap() {
        assert_eq!(piece.offsets().start, next, "pieces are dense");
        next = piece.offsets().end;
        for batch in log.read_piece(&piece, 7).unwrap() {
            let batch = batch.unwrap();
            assert!(batch.num_rows() <= 7);
            let (id, tx) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
            let offset = batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
            let append_ts = batch.column_by_name("_append_ts").unwrap().as_primitive::<TimestampMicrosecondType>();
            for i in 0..batch.num_rows() {
                let offset = offset.value(i) as u64;
                out.push(Row { offset, id: id.value(i), tx: tx.value(i), append_ts: append_ts.value(i) });
            }
        }
    }
    assert_eq!(next, offsets.end, "pieces cover the range");
    out
}

type Everything = BTreeMap<(ObjectId, PartitionId), Vec<Row>>;

fn read_all(log: &Log) -> Everything {
    let mut all = Everything::new();
    for (stream, uppers) in log.cut().uppers.iter() {
        for (p, upper) in (0u32..).zip(uppers) {
            let rows = read_rows(log, *stream, PartitionId(p), Offset(0)..*upper);
            assert!(rows.iter().zip(0..).all(|(row, offset)| row.offset == offset), "offsets are dense from 0");
            assert!(rows.is_sorted_by_key(|r| r.append_ts));
            all.insert((*stream, PartitionId(p)), rows);
        }
    }
    all
}

fn ids(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(|r| r.id).collect()
}

/// SplitMix64, so that a seed repeats a run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

fn wal_files(env: &SimEnv) -> Vec<PathBuf> {
    let names = env.list(&dir().join("wal")).unwrap();
    names.iter().filter(|n| n.ends_with(".wal")).map(|n| dir().join("wal").join(n)).collect()
}

#[test]
fn a_real_directory_keeps_everything_over_sealing_and_restarts() {
    let temp = tempfile::tempdir().unwrap();
    let options = LogOptions { wal_segment_bytes: 1 << 20, ..LogOptions::default() };
    let open = || Log::open(Arc::new(RealEnv::default()), temp.path(), options.clone()).unwrap();
    let (log, records) = open();
    assert!(records.is_empty());
    log.create_stream(S1, &columns(), 2).unwrap();
    for tx in 0..100 {
        let transaction = vec![append(S1, P0, rows(tx, &[tx * 2], 10)), append(S1, P1, rows(tx, &[tx * 2 + 1], 10))];
        assert_eq!(log.commit(transaction).unwrap(), Epoch(tx as u64 + 1));
        assert_eq!(log.cut().uppers[&S1], [Offset(tx as u64 + 1); 2]);
    }
    let before = read_all(&log);
    drop(log);
    let (log, _) = open();
    assert_eq!(read_all(&log), before, "from the write-ahead log");
    log.seal_all().unwrap();
    assert_eq!(log.shared.state.lock().tail_bytes(), 0);
    assert_eq!(read_all(&log), before, "from segments");
    log.commit(vec![append(S1, P0, rows(100, &[200], 10))]).unwrap();
    let before = read_all(&log);
    log.shutdown().unwrap();
    assert_eq!(log.shared.files.bytes(), 64, "a header only");
    assert!(matches!(log.commit(vec![]), Err(Error::Stopped(_))));
    drop(log);
    let (log, _) = open();
    assert_eq!(log.epoch(), Epoch(101), "the epoch survives an empty write-ahead log");
    assert_eq!(read_all(&log), before);
    assert_eq!(log.commit(vec![append(S1, P0, rows(0, &[0], 1))]).unwrap(), Epoch(102));
}

#[test]
fn many_submitters_share_groups_and_readers_see_whole_transactions() {
    const SUBMITTERS: i64 = 8;
    const TRANSACTIONS: i64 = 60;
    let temp = tempfile::tempdir().unwrap();
    let log = Log::open(
        Arc::new(RealEnv::default()),
        temp.path(),
        LogOptions { wal_segment_bytes: 1 << 16, ..busy_options() },
    );
    let log = log.unwrap().0;
    log.create_stream(S1, &columns(), 2).unwrap();
    log.create_stream(S2, &columns(), 1).unwrap();
    std::thread::scope(|scope| {
        let submit = |s: i64| {
            let log = &log;
            move || {
                for i in 0..TRANSACTIONS {
                    let tx = s * TRANSACTIONS + i;
                    let batch = || rows(tx, &[tx], 20);
                    log.commit(vec![append(S1, P0, batch()), append(S2, P0, batch())]).unwrap();
                }
            }
        };
        (0..SUBMITTERS).for_each(|s| drop(scope.spawn(submit(s))));
        let mut cut = log.cut();
        while cut.uppers[&S1][0].0 < (SUBMITTERS * TRANSACTIONS) as u64 {
            let next = log.wait_for(cut.epoch, Duration::from_secs(10));
            assert!(next.epoch > cut.epoch, "progress within 10 s");
            assert_eq!(next.uppers[&S1][0], next.uppers[&S2][0], "both or none");
            let upper = next.uppers[&S1][0];
            let new = cut.uppers[&S1][0]..upper;
            assert_eq!(ids(&read_rows(&log, S1, P0, new.clone())), ids(&read_rows(&log, S2, P0, new)));
            cut = next;
        }
    });
    let all = read_all(&log);
    let seen: BTreeSet<i64> = ids(&all[&(S1, P0)]).into_iter().collect();
    assert_eq!(seen.len() as i64, SUBMITTERS * TRANSACTIONS);
    for s in 0..SUBMITTERS {
        let own: Vec<i64> = ids(&all[&(S1, P0)]).into_iter().filter(|tx| tx / TRANSACTIONS == s).collect();
        assert!(own.is_sorted(), "each submitter's order is kept");
    }
    log.shutdown().unwrap();
}

/// A server that was killed amid a rename in two steps left a file with frames under a spare's name too.
#[test]
fn a_spare_that_is_a_live_file_too_is_not_written_to() {
    let temp = tempfile::tempdir().unwrap();
    let options = LogOptions { wal_segment_bytes: 1 << 16, ..options() };
    let open = || Log::open(Arc::new(RealEnv::default()), temp.path(), options.clone()).unwrap().0;
    let log = open();
    log.create_stream(S1, &columns(), 1).unwrap();
    log.commit(vec![append(S1, P0, rows(0, &[0], 10))]).unwrap();
    drop(log);
    let wal = temp.path().join("wal");
    std::fs::hard_link(wal.join("00000000000000000000.wal"), wal.join("spare-0000000000000000-1")).unwrap();
    let log = open();
    log.commit(vec![append(S1, P0, rows(1, &[1], 10))]).unwrap();
    assert_eq!(ids(&read_all(&log)[&(S1, P0)]), [0, 1]);
    drop(log);
    let log = open();
    assert_eq!(ids(&read_all(&log)[&(S1, P0)]), [0, 1]);
}

#[test]
fn catalog_records_stay_until_they_are_released() {
    let env = SimEnv::new(7);
    let log = start(&env);
    let first = log.commit(vec![Record::Catalog(b"one".to_vec())]).unwrap();
    assert_eq!(first, Epoch(1));
    log.commit(vec![append(S1, P0, rows(0, &[0], 1))]).unwrap();
    log.commit(vec![Record::Catalog(b"two".to_vec())]).unwrap();
    log.shutdown().unwrap();
    drop(log);
    let (log, records) = open_sim(&env, options()).unwrap();
    let expected = [(Epoch(1), b"one".to_vec()), (Epoch(3), b"two".to_vec())];
    assert_eq!(records, expected.map(|(epoch, bytes)| CatalogRecord { epoch, bytes }));
    log.release_catalog(Epoch(3));
    log.shutdown().unwrap();
    drop(log);
    let (log, records) = open_sim(&env, options()).unwrap();
    assert_eq!((records, log.epoch()), (vec![], Epoch(3)));
}

#[test]
fn files_of_the_write_ahead_log_are_reused() {
    let env = SimEnv::new(8);
    let log = start(&env);
    for tx in 0..200 {
        log.commit(vec![append(S1, P0, rows(tx, &[tx], 1000))]).unwrap();
        if tx % 20 == 0 {
            log.seal_all().unwrap();
            assert!(wal_files(&env).len() <= 2);
        }
    }
    log.seal_all().unwrap();
    let spares = env.list(&dir().join("wal")).unwrap().iter().filter(|n| n.starts_with("spare-")).count();
    assert!((1..=wal::SPARES_MAX).contains(&spares), "{spares}");
    drop(log);
    let log = open_sim(&env.crash(), options()).unwrap().0;
    assert_eq!(ids(&read_all(&log)[&(S1, P0)]), (0..200).collect::<Vec<i64>>());
}

#[test]
fn the_sealer_acts_by_itself() {
    let env = SimEnv::new(9);
    let log = open_sim(&env, busy_options()).unwrap().0;
    log.create_stream(S1, &columns(), 1).unwrap();
    for tx in 0..50 {
        log.commit(vec![append(S1, P0, rows(tx, &[tx], 1000))]).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let tail_bytes = || log.shared.state.lock().tail_bytes();
    while tail_bytes() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(tail_bytes(), 0);
    assert_eq!(ids(&read_all(&log)[&(S1, P0)]), (0..50).collect::<Vec<i64>>());
}

#[test]
fn a_stream_that_cannot_be_sealed_keeps_nobody_else_from_it() {
    let env = SimEnv::new(14);
    let log = open_sim(&env, busy_options()).unwrap().0;
    log.create_stream(S1, &columns(), 1).unwrap();
    log.create_stream(S2, &columns(), 1).unwrap();
    let broken = dir().join("streams/1");
    env.remove_file(&broken.join("manifest-0.json")).unwrap();
    env.remove_dir(&broken).unwrap();
    for tx in 0..50 {
        log.commit(vec![append(S2, P0, rows(tx, &[tx], 1000))]).unwrap();
    }
    log.commit(vec![append(S1, P0, rows(50, &[50], 1000))]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let done = || wal_files(&env).len() <= 2 && log.pieces(S2, P0, Offset(49)..Offset(50)).is_ok_and(is_sealed);
    while !done() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(done(), "{} files of the write-ahead log", wal_files(&env).len());
    assert!(log.seal_all().is_err());
    assert!(env.fatal_messages().is_empty());
}

fn is_sealed(pieces: Vec<Piece>) -> bool {
    pieces.iter().all(|piece| matches!(piece, Piece::Segment { .. }))
}

#[test]
fn a_piece_stays_readable_while_its_rows_are_sealed() {
    let env = SimEnv::new(10);
    let log = start(&env);
    log.commit(vec![append(S1, P0, rows(0, &[4, 5, 6], 1))]).unwrap();
    let pieces = log.pieces(S1, P0, Offset(1)..Offset(3)).unwrap();
    log.seal_all().unwrap();
    let sealed = log.pieces(S1, P0, Offset(1)..Offset(3)).unwrap();
    assert!(matches!(pieces[0], Piece::Tail { .. }) && matches!(sealed[0], Piece::Segment { .. }));
    // All columns, and a choice of them in another order.
    for columns in [&[0, 1, 2, 3, 4][..], &[3, 0], &[4]] {
        let read = |p: &Piece| log.read_piece_columns(p, columns, 100).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(read(&pieces[0]), read(&sealed[0]));
        assert_eq!(read(&sealed[0])[0].num_rows(), 2);
        assert_eq!(read(&sealed[0])[0].num_columns(), columns.len());
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let env = SimEnv::new(11);
    let log = start(&env);
    let refused = |columns: Vec<Column>| log.create_stream(S2, &columns, 1).unwrap_err();
    let column = |name: &str, data_type| vec![Column { name: name.into(), data_type, nullable: false }];
    assert!(matches!(refused(column("_offset", DataType::Int64)), Error::Invalid(_)));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    assert!(matches!(refused(column("d", dictionary)), Error::Unsupported(_)));
    let interval = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
    assert!(matches!(refused(column("i", interval)), Error::Unsupported(_)));
    assert!(matches!(log.create_stream(S1, &columns(), 1), Err(Error::AlreadyExists(_))));
    assert!(matches!(log.create_stream(S2, &columns(), 0), Err(Error::Invalid(_))));

    let batch = rows(0, &[1], 1);
    assert!(matches!(log.commit(vec![append(S2, P0, batch.clone())]), Err(Error::NotFound(_))));
    assert!(matches!(log.commit(vec![append(S1, PartitionId(2), batch.clone())]), Err(Error::NotFound(_))));
    let narrow = batch.project(&[0]).unwrap();
    assert!(matches!(log.commit(vec![append(S1, P0, narrow)]), Err(Error::Invalid(_))));
    let swapped = batch.project(&[2, 1, 0]).unwrap();
    assert!(matches!(log.commit(vec![append(S1, P0, swapped)]), Err(Error::Invalid(_))));
    assert!(matches!(log.pieces(S1, P0, Offset(0)..Offset(1)), Err(Error::Invalid(_))));
    assert_eq!(log.epoch(), Epoch(0), "nothing of it was written");
}

#[test]
fn every_column_type_of_postgres_comes_back_from_log_and_segment() {
    use DataType::*;
    let types = [
        Boolean,
        Int16,
        Int32,
        Int64,
        Float32,
        Float64,
        Utf8,
        Utf8View,
        Binary,
        BinaryView,
        Date32,
        Decimal128(12, 2),
        Time64(arrow::datatypes::TimeUnit::Microsecond),
        Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
        Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
        List(Arc::new(Field::new_list_field(Int64, true))),
        Int8,
        Null,
    ];
    let columns: Vec<Column> =
        (0..).zip(types).map(|(i, data_type)| Column { name: format!("c{i}"), data_type, nullable: true }).collect();
    let schema = schema_of(&columns);
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("1"), None, Some("0")]));
    let arrays = columns.iter().map(|c| {
        arrow::compute::cast(&texts, &c.data_type).unwrap_or_else(|_| arrow::array::new_null_array(&c.data_type, 3))
    });
    let batch = RecordBatch::try_new(schema, arrays.collect()).unwrap();

    let env = SimEnv::new(12);
    let log = open_sim(&env, options()).unwrap().0;
    log.create_stream(S1, &columns, 1).unwrap();
    log.commit(vec![append(S1, P0, batch.clone())]).unwrap();
    drop(log);
    let log = open_sim(&env, options()).unwrap().0;
    let user_columns: Vec<usize> = (0..columns.len()).collect();
    let read = |log: &Log| {
        let piece = log.pieces(S1, P0, Offset(0)..Offset(3)).unwrap().remove(0);
        log.read_piece_columns(&piece, &user_columns, 10).unwrap().next().unwrap().unwrap()
    };
    assert_eq!(read(&log).columns(), batch.columns());
    log.seal_all().unwrap();
    assert_eq!(read(&log), batch);
}
