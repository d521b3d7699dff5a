//! A test's database is there while the test is, and no longer.

use aivms_test_database::{TestDatabase, TestServer};

#[test]
fn each_test_has_a_database_of_its_own_that_goes_with_it() {
    let (one, two) = (TestDatabase::create().unwrap(), TestDatabase::create().unwrap());
    one.psql(&["create table things (id bigint)"]).unwrap();
    assert!(two.psql(&["select * from things"]).is_err());
    let gone = one.name().to_owned();
    drop(one);
    let left = two.psql(&[&format!("select count(*) from pg_database where datname = '{gone}'")]).unwrap();
    assert_eq!(left.trim(), "0");
}

#[test]
fn a_server_that_crashed_comes_back_with_what_was_committed() {
    let mut server = TestServer::start(&[]).unwrap();
    server.create_database("cloud").unwrap();
    server.psql("cloud", &["create table things (id bigint)", "insert into things values (7)"]).unwrap();
    server.crash();
    assert!(server.psql("cloud", &["select 1"]).is_err());
    server.resume().unwrap();
    assert_eq!(server.psql("cloud", &["select id from things"]).unwrap().trim(), "7");
}
