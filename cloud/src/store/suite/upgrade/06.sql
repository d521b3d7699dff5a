-- A chain of the audit log as the program hashes it.

insert into audit_entries (tenant, seq, at, actor_kind, actor_id, actor_name, address, action, subject, detail, previous, hash) values
    (1, 1, 1795352700001, 'user', 'owner@acme.example', 'Owner', '192.0.2.7', 'user.signed_in', null, '{}', X'0000000000000000000000000000000000000000000000000000000000000000', X'73309cd4c2dfaf7b90a5a274779c2f3afde60cbdb231bd874388664fdfeaec1e'),
    (1, 2, 1795352700002, 'user', 'owner@acme.example', 'Owner', '192.0.2.7', 'edge.created', 'edge_gate', '{}', X'73309cd4c2dfaf7b90a5a274779c2f3afde60cbdb231bd874388664fdfeaec1e', X'51f60719cfd26d58b5758a29e5a3977b9abb6788c5b8aaf8da754c3efface6eb');
insert into audit_heads (tenant, seq, hash) values
    (1, 2, X'51f60719cfd26d58b5758a29e5a3977b9abb6788c5b8aaf8da754c3efface6eb');
insert into audit_folds (tenant, fold, until) values
    (1, 'a-fold', 1795352700000);
insert into idempotency_keys (tenant, key_hash, fingerprint, began_at, carried_out, answer) values
    (1, X'72a7ab318788b3628e9f10ad3dcb0ee63eeb1dd0ce0f246fdab0740a391f8fae', X'5aef96240bca5582e6fd0468879a26863d81d1c1fb602def55926ef33ec8bb1f', 1795352700000, 1, X'0F'),
    (null, X'c840fb828dae8708f294b85c375d78e9a5f806e8772c13876558bd2c5075172e', X'30bab95953620a6938ca0114f3bdb71410839b0ca0bb66dcf304369dcb3cb7e6', 1795352700000, 0, null);
