-- fragment: waits
SELECT queue_name, overdue, waited_s FROM forge_waiting()
