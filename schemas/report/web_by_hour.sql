SELECT hour, requests, blocked, bytes_in, bytes_out, people, active_slots
FROM web_by_hour(from = {from:Date}, to = {to:Date}, tenant = {tenant:String}, population = {population:String}, unit = {unit:String}, category = {category:String}, k = {k:UInt32})
ORDER BY hour
LIMIT {limit:UInt64}
