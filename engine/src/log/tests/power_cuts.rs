//! Power cuts: what was acknowledged survives one at any moment, once and in order; the rest is whole or not there.

use super::*;

/// What the world outside knows: what was acknowledged, and what might have been written.
#[derive(Default)]
struct Model {
    /// By place, what is there: id and time of append.
    acknowledged: HashMap<(ObjectId, PartitionId, u64), (i64, i64)>,
    /// Ids whose place was not looked at yet.
    fresh: Vec<(ObjectId, PartitionId, i64)>,
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

    fn acknowledge(&mut self, tx: i64, records: &[Record], epoch: Epoch) {
        let mut id = tx * 100;
        for record in records {
            match record {
                Record::Append { stream, partition, batch } => {
                    for _ in 0..batch.num_rows() {
                        self.fresh.push((*stream, *partition, id));
                        id += 1;
                    }
                }
                Record::Catalog(bytes) => self.catalog.push(bytes.clone()),
            }
        }
        assert!(epoch >= self.epoch);
        self.epoch = epoch;
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
        for (place, rows) in &all {
            // One submitter, which counts up: offsets are given in the order of submission.
            assert!(rows.is_sorted_by(|a, b| a.id < b.id), "{place:?}");
        }
        for (stream, partition, id) in self.fresh.drain(..) {
            let found = all[&(stream, partition)].binary_search_by_key(&id, |row| row.id);
            assert!(found.is_ok(), "row {id} of stream {stream}/{partition} is lost");
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
                model.acknowledge(tx, &records, ticket.wait()?);
            }
        }
        if random.below(15) == 0 {
            log.seal_all()?;
        }
    }
    for (tx, records, ticket) in waiting {
        model.acknowledge(tx, &records, ticket.wait()?);
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
        let options = if seed.is_multiple_of(3) { busy_options() } else { options() };
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
            [] => {}
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
    assert_eq!(wal_files(&env).len(), 3);
    let before = read_all(&log);
    drop(log);
    let env = env.crash();
    let log = open_sim(&env, options()).unwrap().0;
    assert_eq!(read_all(&log), before);
}
