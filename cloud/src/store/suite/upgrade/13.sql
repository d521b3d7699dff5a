-- Where the process is reached, and the relay it has.

update processes set address = '192.0.2.10:8443';
insert into relay_homes (edge, process) values
    (1, '00000000000000000000000000000005');
