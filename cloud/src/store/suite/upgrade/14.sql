-- An export, a locked file, and a tenant that is to go.

insert into tenant_exports (tenant, export_id, include_media, state, asked_at, asked_by, attempts, lines, bytes, files, files_of, object, sha256, finished_at, expires_at) values
    (1, 'export_01m81nr9300000000000000019', 1, 'finished', 1795352700000, 'owner@acme.example', 1, 10, 1000, 1, 1, 'acme/exports/1.tar', '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881', 1795352700010, 1796352700000);
update tenants set deletion_asked_at = 1795352700000, deletion_asked_by = 'owner@rival.example', deletion_due_at = 1805352700000 where tenant_id = 'rival';
update media set locked_at = 1795352700000, locked_by = 'owner@acme.example', lock_reason = 'theft' where media_id = 'clip_1';
