-- The row that shows whether the database can be written.

insert into write_probe (id, tried_at) values
    (1, 1795352700000);
