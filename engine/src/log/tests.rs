//! The log against its promises: on a simulated disk that tears, fails and fills up, and once on a real one.

use super::*;
use crate::env::{RealEnv, SimEnv};
use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    for piece in log.read(stream, partition, offsets.clone()).unwrap() {
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

// ── On a real disk ──────────────────────────────────────────────────────────────────────────────────────────────────

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
        let committed = log.commit(transaction).unwrap();
        assert_eq!(committed.epoch, Epoch(tx as u64 + 1));
        assert_eq!(committed.base_offsets, vec![Some(Offset(tx as u64)); 2]);
    }
    let before = read_all(&log);
    drop(log);
    let (log, _) = open();
    assert_eq!(read_all(&log), before, "from the write-ahead log");
    log.seal_all().unwrap();
    assert_eq!(log.stats().tail_bytes, 0);
    assert_eq!(read_all(&log), before, "from segments");
    log.commit(vec![append(S1, P0, rows(100, &[200], 10))]).unwrap();
    let before = read_all(&log);
    log.shutdown().unwrap();
    assert_eq!((log.stats().wal_files, log.stats().wal_bytes), (1, 64));
    assert!(matches!(log.commit(vec![]), Err(Error::Stopped(_))));
    drop(log);
    let (log, _) = open();
    assert_eq!(log.epoch(), Epoch(101), "the epoch survives an empty write-ahead log");
    assert_eq!(read_all(&log), before);
    assert_eq!(log.commit(vec![append(S1, P0, rows(0, &[0], 1))]).unwrap().epoch, Epoch(102));
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

// ── Power cuts ──────────────────────────────────────────────────────────────────────────────────────────────────────

/// What the world outside knows: what was acknowledged, and what might have been written.
#[derive(Default)]
struct Model {
    acknowledged: HashMap<(ObjectId, PartitionId, u64), (i64, i64)>,
    /// Rows per transaction that was submitted.
    submitted: HashMap<i64, usize>,
    catalog: Vec<Vec<u8>>,
    epoch: Epoch,
    next_tx: i64,
}

impl Model {
    /// A random transaction over both streams; sometimes with a catalog record.
    fn transaction(&mut self, random: &mut Random) -> (i64, Vec<Record>) {
        let tx = self.next_tx;
        self.next_tx += 1;
        let mut records = Vec::new();
        let mut total = 0;
        for (stream, partition) in [(S1, P0), (S1, P1), (S2, P0)] {
            let n = random.below(4) as i64;
            let ids: Vec<i64> = (0..n).map(|i| tx * 100 + total + i).collect();
            total += n;
            let text_bytes = if random.below(20) == 0 { 9000 } else { random.below(300) };
            records.push(append(stream, partition, rows(tx, &ids, text_bytes as usize)));
        }
        if random.below(4) == 0 {
            records.push(Record::Catalog(tx.to_le_bytes().to_vec()));
        }
        self.submitted.insert(tx, total as usize);
        (tx, records)
    }

    fn acknowledge(&mut self, tx: i64, records: &[Record], committed: &Committed) {
        let mut id = tx * 100;
        for (record, base) in records.iter().zip(&committed.base_offsets) {
            match record {
                Record::Append { stream, partition, batch } => {
                    for i in 0..batch.num_rows() as u64 {
                        let place = (*stream, *partition, base.unwrap().0 + i);
                        assert_eq!(
                            self.acknowledged.insert(place, (id, committed.append_ts)),
                            None,
                            "offset given twice"
                        );
                        id += 1;
                    }
                }
                Record::Catalog(bytes) => self.catalog.push(bytes.clone()),
            }
        }
        assert!(committed.epoch >= self.epoch);
        self.epoch = committed.epoch;
    }

    fn check(&mut self, log: &Log, catalog: &[CatalogRecord]) {
        let all = read_all(log);
        for ((stream, partition, offset), (id, append_ts)) in &self.acknowledged {
            let row = all[&(*stream, *partition)].get(*offset as usize);
            assert_eq!(
                row.map(|r| (r.id, r.append_ts)),
                Some((*id, *append_ts)),
                "stream {stream}/{partition} @ {offset}"
            );
        }
        let mut seen = BTreeSet::new();
        let mut per_tx: HashMap<i64, usize> = HashMap::new();
        for row in all.values().flatten() {
            assert!(seen.insert(row.id), "row {} is there twice", row.id);
            *per_tx.entry(row.tx).or_default() += 1;
        }
        for (tx, n) in per_tx {
            assert_eq!(n, self.submitted[&tx], "transaction {tx} is there in part");
        }
        // Nothing was released, so every acknowledged catalog record is there, in order.
        let mut found = catalog.iter();
        for expected in &self.catalog {
            assert!(found.any(|r| r.bytes == *expected), "catalog record lost or out of order");
        }
        self.catalog = catalog.iter().map(|r| r.bytes.clone()).collect();
        assert!(catalog.is_sorted_by_key(|r| r.epoch));
        assert!(log.epoch() >= self.epoch, "epochs go back");
        self.epoch = log.epoch();
        // What survived unacknowledged is as good as acknowledged from now on.
        for ((stream, partition), rows) in &all {
            let known = rows.iter().map(|r| ((*stream, *partition, r.offset), (r.id, r.append_ts)));
            self.acknowledged.extend(known);
        }
    }
}

/// Runs random transactions until the power goes off or `n` are done.
fn run_workload(log: &Log, model: &mut Model, random: &mut Random, n: u64) -> Result<()> {
    for (id, partitions) in [(S1, 2), (S2, 1)] {
        if !log.streams().contains(&id) {
            log.create_stream(id, &columns(), partitions)?;
        }
    }
    let mut waiting = Vec::new();
    for _ in 0..n {
        let (tx, records) = model.transaction(random);
        waiting.push((tx, records.clone(), log.submit(records)?));
        if random.below(3) == 0 {
            for (tx, records, ticket) in waiting.drain(..) {
                model.acknowledge(tx, &records, &ticket.wait()?);
            }
        }
        if random.below(15) == 0 {
            log.seal_all()?;
        }
    }
    for (tx, records, ticket) in waiting {
        model.acknowledge(tx, &records, &ticket.wait()?);
    }
    if random.below(3) == 0 { log.shutdown() } else { Ok(()) }
}

#[test]
fn power_cuts_at_any_moment_lose_nothing_acknowledged() {
    for seed in 0..250 {
        let result = std::panic::catch_unwind(|| power_cuts(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

fn power_cuts(seed: u64) {
    let mut random = Random(seed);
    let mut env = SimEnv::new(seed);
    let mut model = Model::default();
    for _ in 0..4 {
        let options = if seed % 3 == 0 { busy_options() } else { options() };
        // Sometimes the power goes off again during recovery.
        env.cut_power_after(random.below(300));
        if let Ok((log, catalog)) = open_sim(&env, options) {
            if log.streams().len() == 2 && !env.is_dead() {
                check_unless_dead(&env, || model.check(&log, &catalog));
            }
            let _ = run_workload(&log, &mut model, &mut random, 40);
        }
        env = env.crash();
    }
    let (log, catalog) = open_sim(&env, options()).unwrap();
    model.check(&log, &catalog);
    log.shutdown().unwrap();
}

/// A background sealer may run into the power cut while we read.
fn check_unless_dead(env: &SimEnv, check: impl FnOnce()) {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
    if let Err(panic) = result
        && !env.is_dead()
    {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_power_cut_at_each_step_of_sealing_loses_and_duplicates_nothing() {
    for step in 0.. {
        let env = SimEnv::new(step);
        let log = start(&env);
        for tx in 0..10 {
            log.commit(vec![append(S1, P0, rows(tx, &[tx], 500)), append(S1, P1, rows(tx, &[100 + tx], 9))]).unwrap();
        }
        let before = read_all(&log);
        env.cut_power_after(step);
        let sealed = log.seal_all();
        drop(log);
        let env = env.crash();
        let log = open_sim(&env, options()).unwrap().0;
        assert_eq!(read_all(&log), before, "step {step}");
        log.commit(vec![append(S1, P0, rows(10, &[10], 9))]).unwrap();
        log.seal_all().unwrap();
        assert_eq!(ids(&read_all(&log)[&(S1, P0)]), (0..=10).collect::<Vec<i64>>(), "step {step}");
        if sealed.is_ok() {
            assert!(step > 10, "sealing has more steps than that");
            return;
        }
    }
}

#[test]
fn a_power_cut_at_each_step_of_dropping_leaves_all_or_nothing() {
    for step in 0.. {
        let env = SimEnv::new(step);
        let log = start(&env);
        log.commit(vec![append(S1, P0, rows(0, &[0], 5))]).unwrap();
        log.seal_all().unwrap();
        log.commit(vec![append(S1, P0, rows(1, &[1], 5))]).unwrap();
        env.cut_power_after(step);
        let dropped = log.drop_stream(S1);
        drop(log);
        let log = open_sim(&env.crash(), options()).unwrap().0;
        match log.streams().as_slice() {
            [] => assert_eq!(log.unknown_streams(), [S1]),
            [S1] => {
                assert_eq!(ids(&read_all(&log)[&(S1, P0)]), [0, 1]);
                log.drop_stream(S1).unwrap();
            }
            other => panic!("{other:?}"),
        }
        if dropped.is_ok() {
            assert!(log.streams().is_empty());
            return;
        }
    }
}

#[test]
fn a_stream_whose_drop_failed_keeps_its_records() {
    for seed in 0..30 {
        let env = SimEnv::new(seed);
        let log = start(&env);
        log.create_stream(S2, &columns(), 1).unwrap();
        log.commit(vec![append(S1, P0, rows(0, &[0, 1, 2], 5))]).unwrap();
        env.fail_sync_after(0);
        assert!(log.drop_stream(S1).is_err());
        // The write-ahead log moves on, and lets go what it may.
        for tx in 1..40 {
            log.commit(vec![append(S2, P0, rows(tx, &[tx], 600))]).unwrap();
        }
        log.seal_all().unwrap();
        drop(log);
        let log = open_sim(&env.crash(), options()).unwrap().0;
        if log.streams().contains(&S1) {
            assert_eq!(ids(&read_all(&log)[&(S1, P0)]), [0, 1, 2], "seed {seed}");
        }
        log.drop_stream(S1).unwrap();
        assert_eq!(log.streams(), [S2]);
    }
}

/// The very first records, in directories that are as new.
#[test]
fn a_new_directory_is_as_durable_as_what_is_in_it() {
    for seed in 0..30 {
        let env = SimEnv::new(seed);
        let dir = PathBuf::from("/made/on/the/way/db");
        let open = |env: &SimEnv| Log::open(Arc::new(env.clone()), &dir, options()).unwrap().0;
        let log = open(&env);
        log.create_stream(S1, &columns(), 1).unwrap();
        log.commit(vec![append(S1, P0, rows(0, &[7], 5))]).unwrap();
        drop(log);
        let log = open(&env.crash());
        assert_eq!(ids(&read_all(&log)[&(S1, P0)]), [7], "seed {seed}");
    }
}

#[test]
fn a_group_larger_than_a_file_gets_its_own() {
    let env = SimEnv::new(1);
    let log = start(&env);
    log.commit(vec![append(S1, P0, rows(0, &[0], 10))]).unwrap();
    log.commit(vec![append(S1, P0, rows(1, &[1], 100_000)), append(S1, P1, rows(1, &[2], 100_000))]).unwrap();
    log.commit(vec![append(S1, P0, rows(2, &[3], 10))]).unwrap();
    assert_eq!(log.stats().wal_files, 3);
    let before = read_all(&log);
    drop(log);
    let env = env.crash();
    let log = open_sim(&env, options()).unwrap().0;
    assert_eq!(read_all(&log), before);
}

// ── Damage ──────────────────────────────────────────────────────────────────────────────────────────────────────────

fn wal_files(env: &SimEnv) -> Vec<PathBuf> {
    let names = env.list(&dir().join("wal")).unwrap();
    names.iter().filter(|n| n.ends_with(".wal")).map(|n| dir().join("wal").join(n)).collect()
}

#[test]
fn a_flipped_bit_is_reported_or_harmless() {
    let env = SimEnv::new(3);
    let log = start(&env);
    for tx in 0..30 {
        log.commit(vec![append(S1, P0, rows(tx, &[tx], 200)), Record::Catalog(vec![tx as u8; 9])]).unwrap();
    }
    let before = read_all(&log);
    drop(log);
    let mut random = Random(3);
    let mut reported = 0;
    assert!(wal_files(&env).len() > 2);
    for path in wal_files(&env) {
        let bytes = env.open(&path).unwrap().len().unwrap();
        for byte in (0..bytes).step_by(3) {
            let bit = random.below(8) as u8;
            env.flip_bit(&path, byte, bit);
            match open_sim(&env, options()) {
                Ok((log, catalog)) => {
                    assert_eq!(read_all(&log), before, "{} byte {byte} bit {bit}", path.display());
                    assert_eq!(catalog.len(), 30);
                }
                Err(Error::Corrupt { file, byte: at, .. }) => {
                    assert!(at <= byte || file != path, "{at} is behind the damage at {byte}");
                    reported += 1;
                }
                Err(e) => panic!("{e}"),
            }
            env.flip_bit(&path, byte, bit);
        }
    }
    assert!(reported > 1000, "{reported}");
}

#[test]
fn a_missing_or_shortened_file_is_corruption() {
    let build = || {
        let env = SimEnv::new(4);
        let log = start(&env);
        for tx in 0..60 {
            log.commit(vec![append(S1, P0, rows(tx, &[tx], 200))]).unwrap();
        }
        drop(log);
        env
    };
    for missing in 0..wal_files(&build()).len() - 1 {
        let env = build();
        env.remove_file(&wal_files(&env)[missing]).unwrap();
        assert!(matches!(open_sim(&env, options()), Err(Error::Corrupt { .. })), "file {missing}");
    }
    let env = build();
    env.open(wal_files(&env).last().unwrap()).unwrap().set_len(100).unwrap();
    assert!(matches!(open_sim(&env, options()), Err(Error::Corrupt { .. })));
    let env = build();
    let log = open_sim(&env, options()).unwrap().0;
    log.seal_all().unwrap();
    drop(log);
    wal_files(&env).iter().for_each(|path| env.remove_file(path).unwrap());
    assert!(matches!(open_sim(&env, options()), Err(Error::Corrupt { .. })), "epochs would start again");
}

#[test]
fn a_damaged_segment_or_manifest_is_corruption() {
    let env = SimEnv::new(5);
    let log = start(&env);
    log.commit(vec![append(S1, P0, rows(0, &[1, 2, 3], 50))]).unwrap();
    log.shutdown().unwrap();
    drop(log);
    let stream = dir().join("streams/1");
    let manifest = stream.join("manifest-1.json");
    env.flip_bit(&manifest, 100, 2);
    assert!(matches!(open_sim(&env, options()), Err(Error::Corrupt { file, .. }) if file == manifest));
    env.flip_bit(&manifest, 100, 2);
    let segment = stream.join(segment::segment_name(P0, Offset(0)));
    let file = env.open(&segment).unwrap();
    let bytes = file.len().unwrap();
    env.flip_bit(&segment, bytes - 1, 0);
    let log = open_sim(&env, options()).unwrap().0;
    assert!(matches!(log.read(S1, P0, Offset(0)..Offset(3)), Err(Error::Corrupt { .. })));
    drop(log);
    file.set_len(bytes - 1).unwrap();
    assert!(matches!(open_sim(&env, options()), Err(Error::Corrupt { file, .. }) if file == segment));
}

/// Header, pages, statistics, footer: wherever a bit of a segment flips, no row of it is shown.
#[test]
fn a_flipped_bit_anywhere_in_a_segment_is_reported_before_its_first_use() {
    let env = SimEnv::new(13);
    let log = start(&env);
    for tx in 0..50 {
        log.commit(vec![append(S1, P0, rows(tx, &[tx * 7, tx * 11], 30))]).unwrap();
    }
    log.shutdown().unwrap();
    drop(log);
    let segment = dir().join("streams/1").join(segment::segment_name(P0, Offset(0)));
    let bytes = env.open(&segment).unwrap().len().unwrap();
    let mut random = Random(13);
    for byte in (0..bytes).step_by(7).chain([bytes - 1]) {
        let bit = random.below(8) as u8;
        env.flip_bit(&segment, byte, bit);
        let log = open_sim(&env, options()).unwrap().0;
        for offsets in [Offset(0)..Offset(100), Offset(99)..Offset(100), Offset(0)..Offset(1)] {
            let read = log.read(S1, P0, offsets);
            assert!(matches!(&read, Err(Error::Corrupt { file, .. }) if *file == segment), "byte {byte}: {read:?}");
        }
        env.flip_bit(&segment, byte, bit);
        assert_eq!(log.read(S1, P0, Offset(0)..Offset(100)).unwrap().len(), 1, "nothing is held against a whole file");
    }
    let log = open_sim(&env, options()).unwrap().0;
    let pieces = log.read(S1, P0, Offset(0)..Offset(100)).unwrap();
    env.flip_bit(&segment, 40, 1);
    assert_eq!(log.read(S1, P0, Offset(0)..Offset(100)).unwrap().len(), pieces.len(), "it is read whole once only");
}

// ── Failing disks ───────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_failed_sync_is_never_acknowledged() {
    for n in 0..12 {
        let env = SimEnv::new(n);
        let log = start(&env);
        env.fail_sync_after(n);
        let mut acknowledged = Vec::new();
        let failed = (0..40).find(|tx| match log.commit(vec![append(S1, P0, rows(*tx, &[*tx], 600))]) {
            Ok(_) => {
                acknowledged.push(*tx);
                false
            }
            Err(_) => true,
        });
        assert!(failed.is_some(), "sync {n} failed, and nobody was told");
        assert_eq!(env.fatal_messages().len(), 1, "the process would have ended");
        assert!(matches!(log.commit(vec![append(S1, P0, rows(0, &[99], 1))]), Err(Error::Stopped(_))));
        assert_eq!(ids(&read_all(&log)[&(S1, P0)]), acknowledged, "readers see no unsure record");
        drop(log);
        let log = open_sim(&env.crash(), options()).unwrap().0;
        let found = ids(&read_all(&log)[&(S1, P0)]);
        assert!(found.starts_with(&acknowledged) && found.len() <= acknowledged.len() + 1, "{found:?}");
    }
}

#[test]
fn a_refusal_at_any_step_of_sealing_and_freeing_passes() {
    for step in 0.. {
        let env = SimEnv::new(step);
        let log = start(&env);
        for tx in 0..40 {
            log.commit(vec![append(S1, P0, rows(tx, &[tx], 900))]).unwrap();
        }
        let expected = read_all(&log);
        env.refuse_after(step, libc::EMFILE);
        if log.seal_all().is_ok() {
            assert!(step > 10, "sealing has more steps than that");
            return;
        }
        let fatal = !env.fatal_messages().is_empty();
        if !fatal {
            for tx in 40..60 {
                log.commit(vec![append(S1, P1, rows(tx, &[tx], 900))]).unwrap();
            }
            log.seal_all().unwrap();
        }
        drop(log);
        let log = open_sim(&env.crash(), options()).unwrap_or_else(|e| panic!("step {step}: {e}")).0;
        assert_eq!(read_all(&log)[&(S1, P0)], expected[&(S1, P0)], "step {step}");
        assert_eq!(log.cut().uppers[&S1][1], Offset(if fatal { 0 } else { 20 }), "step {step}");
    }
}

/// Making a file: 0 create, 1 zeroes, 2 header, 3 sync, 4 name; 5 sync of the name. Then 6 and 7 write and sync the group.
#[test]
fn a_file_that_cannot_be_made_is_refused_and_one_that_may_be_there_is_fatal() {
    for (errno, step) in
        [libc::ENOSPC, libc::EDQUOT, libc::EMFILE].into_iter().flat_map(|e| (0..8).map(move |s| (e, s)))
    {
        let env = SimEnv::new(step);
        let log = start(&env);
        env.refuse_after(step, errno);
        let commit = |tx: i64| log.commit(vec![append(S1, P0, rows(tx, &[tx], 10))]);
        let refused = commit(0);
        if step < 5 {
            assert!(matches!(refused, Err(Error::Io { .. })), "step {step}: {refused:?}");
            assert!(env.fatal_messages().is_empty(), "step {step}: {:?}", env.fatal_messages());
            assert_eq!(env.list(&dir().join("wal")).unwrap(), Vec::<String>::new(), "step {step}");
            commit(1).unwrap();
            commit(2).unwrap();
        } else {
            assert!(matches!(refused, Err(Error::Stopped(_))), "step {step}: {refused:?}");
            assert_eq!(env.fatal_messages().len(), 1, "step {step}");
        }
        drop(log);
        let log = open_sim(&env.crash(), options()).unwrap().0;
        let found = ids(&read_all(&log)[&(S1, P0)]);
        assert!(if step < 5 { found == [1, 2] } else { found.is_empty() || found == [0] }, "step {step}: {found:?}");
    }
}

#[test]
fn a_manifest_that_cannot_be_named_for_lack_of_room_is_no_end() {
    let env = SimEnv::new(15);
    let dir = dir().join("streams/1");
    env.create_dir(&dir).unwrap();
    let manifest = Manifest { stream: S1, columns: columns(), partitions: vec![vec![]] };
    env.refuse_after(3, libc::ENOSPC); // create, write, sync, name
    assert!(!manifest.write(&env, &dir, 0).unwrap_err().unsure);
    assert_eq!(env.list(&dir).unwrap(), Vec::<String>::new());
    env.refuse_after(3, libc::EIO);
    assert!(manifest.write(&env, &dir, 0).unwrap_err().unsure);
    manifest.write(&env, &dir, 0).unwrap();
}

#[test]
fn a_full_disk_is_an_error_that_passes() {
    let env = SimEnv::new(6);
    let log = start(&env);
    log.commit(vec![append(S1, P0, rows(0, &[0], 10))]).unwrap();
    env.set_capacity(Some(9000));
    let full = log.commit(vec![append(S1, P0, rows(1, &[1], 9000))]);
    assert!(matches!(full, Err(Error::Io { .. })), "{full:?}");
    assert!(log.seal_all().is_err());
    assert_eq!(ids(&read_all(&log)[&(S1, P0)]), [0]);
    let committed = log.commit(vec![append(S1, P0, rows(2, &[2], 10))]).unwrap();
    assert_eq!((committed.epoch, committed.base_offsets), (Epoch(2), vec![Some(Offset(1))]));
    env.set_capacity(None);
    log.commit(vec![append(S1, P0, rows(3, &[3], 9000))]).unwrap();
    log.seal_all().unwrap();
    assert_eq!(ids(&read_all(&log)[&(S1, P0)]), [0, 2, 3]);
    assert!(env.fatal_messages().is_empty());
    drop(log);
    let log = open_sim(&env.crash(), options()).unwrap().0;
    assert_eq!(ids(&read_all(&log)[&(S1, P0)]), [0, 2, 3]);
}

// ── The rest of the interface ───────────────────────────────────────────────────────────────────────────────────────

#[test]
fn catalog_records_stay_until_they_are_released() {
    let env = SimEnv::new(7);
    let log = start(&env);
    let first = log.commit(vec![Record::Catalog(b"one".to_vec())]).unwrap();
    assert_eq!((first.epoch, first.base_offsets), (Epoch(1), vec![None]));
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
            assert!(log.stats().wal_files <= 2);
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
    while log.stats().tail_bytes > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(log.stats().tail_bytes, 0);
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
    let done = || log.shared.files.count() <= 2 && log.read(S2, P0, Offset(49)..Offset(50)).is_ok_and(is_sealed);
    while !done() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(done(), "{} files of the write-ahead log", log.shared.files.count());
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
    let pieces = log.read(S1, P0, Offset(1)..Offset(3)).unwrap();
    log.seal_all().unwrap();
    let sealed = log.read(S1, P0, Offset(1)..Offset(3)).unwrap();
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
    assert!(matches!(log.read(S1, P0, Offset(0)..Offset(1)), Err(Error::Invalid(_))));
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
        let piece = log.read(S1, P0, Offset(0)..Offset(3)).unwrap().remove(0);
        log.read_piece_columns(&piece, &user_columns, 10).unwrap().next().unwrap().unwrap()
    };
    assert_eq!(read(&log).columns(), batch.columns());
    log.seal_all().unwrap();
    assert_eq!(read(&log), batch);
}
