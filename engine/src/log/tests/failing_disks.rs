//! Failing disks: nothing unsure is acknowledged; what can be refused is refused, and the log goes on.

use super::*;

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
    assert_eq!(log.commit(vec![append(S1, P0, rows(2, &[2], 10))]).unwrap(), Epoch(2));
    env.set_capacity(None);
    log.commit(vec![append(S1, P0, rows(3, &[3], 9000))]).unwrap();
    log.seal_all().unwrap();
    assert_eq!(ids(&read_all(&log)[&(S1, P0)]), [0, 2, 3]);
    assert!(env.fatal_messages().is_empty());
    drop(log);
    let log = open_sim(&env.crash(), options()).unwrap().0;
    assert_eq!(ids(&read_all(&log)[&(S1, P0)]), [0, 2, 3]);
}
