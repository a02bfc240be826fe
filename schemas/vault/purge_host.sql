-- The name of the machine that the server runs on, as it has it.
SELECT hostName() AS host
