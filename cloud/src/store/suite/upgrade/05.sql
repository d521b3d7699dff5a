-- A person who joined, with all that lets people in.

insert into users (tenant, email, name, role, password_hash, token_generation, created_at, user_id, disabled_at, removed_at, all_cameras, last_sign_in) values
    (1, 'guard@acme.example', 'Guard', 'viewer', '$argon2id$none', 0, 1795352700003, 'user_01m81nr9330000000000000003', null, null, 0, 1795352700004),
    (1, '#5', 'Gone', 'viewer', '', 1, 1795352700000, 'user_01m81nr9300000000000000005', null, 1795352700009, 1, null);
insert into user_cameras (person, edge, camera) values
    (4, 1, 'door');
insert into sign_in_settings (tenant, second_factor_required) values
    (1, 0);
insert into invitations (invitation_id, tenant, email, role, cameras, token_hash, invited_by, created_at, expires_at, accepted_at) values
    ('invitation_01m81nr9330000000000000004', 1, 'new@acme.example', 'viewer', '[["edge_gate","door"]]', X'89270a50341bb8e83734ee062603c63c219320ed4a40fb9fb8c2792358548e8a', 1, 1795352700000, 1796352700000, null);
insert into password_resets (person, token_hash, expires_at) values
    (2, X'01be30bb4a27765c37462e6bf2a0bf8b6c109f9be9d81e6fd56455db1a736a43', 1795353700000);
insert into sessions (session_id, person, method, address, agent, created_at, last_used_at, ends_at, ended_at) values
    ('session_01m81nr9330000000000000005', 1, 'password', '192.0.2.7', 'curl', 1795352700000, 1795352700000, 1796352700000, null);
insert into refresh_tokens (token_hash, session, used_at) values
    (X'82f3e9c695dc6b8d1b11818d5701919e286de8d47f7c3eb3100c485f79e57828', 1, 1795352700005),
    (X'db77fd01af957221a4989b64b3770a83a3c56068405b9f0e9408feae57fd17e4', 1, null);
insert into second_factors (person, secret, created_at, confirmed_at, last_step) values
    (2, X'0A0B', 1795352700000, 1795352700001, 59845090);
insert into recovery_codes (code_hash, person, used_at) values
    (X'5694d08a2e53ffcae0c3103e5ad6f6076abd960eb1f8a56577040bc1028f702b', 2, null);
insert into api_keys (key_id, tenant, person, name, role, cameras, key_hash, hint, created_at, expires_at, last_used_at, revoked_at) values
    ('key_01m81nr9330000000000000006', 1, 1, 'Export', 'viewer', 'null', X'2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683', 'x7y8', 1795352700000, 1805352700000, null, null);
insert into tries (key_hash, empties_at) values
    (X'1e262cd7d110812f5726055a6e672b92cde43648b76adff51a12441fbdf7e667', 1795352700000);
insert into outgoing_mail (recipient, subject, body_text, body_html, created_at, due_at, expires_at, attempts, leased_until, sent_at, failed_at) values
    ('new@acme.example', 'Join', 'text', null, 1795352700000, 1795352700000, 1796352700000, 1, null, null, null);
insert into identity_providers (tenant, issuer, client_id, client_secret, allowed_domains, default_role, changed_at) values
    (1, 'https://id.example', 'aivms', X'0C0D', '["acme.example"]', null, 1795352700000);
insert into provider_identities (tenant, issuer, subject, person, created_at) values
    (1, 'https://id.example', 'sub-1', 2, 1795352700000);
insert into provider_flows (state_hash, tenant, browser_hash, nonce, verifier, expires_at) values
    (X'4ba69735ca53765ed6a709edb56c6ea236b7193a3b29a6b390c346f0f4340e4e', 1, X'd4c3e8a11256ab82a4fc72560eb4a2b0e87bad820c290dd9b03616de240aa6db', 'nonce', X'0E', 1795352700000);
insert into sign_in_codes (code_hash, person, expires_at) values
    (X'55f1dd626d4be082a57e4d1232e5964509468d99b03f8feb1cb9b5340e3f6eba', 2, 1795352700000);
