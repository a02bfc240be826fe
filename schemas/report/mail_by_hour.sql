SELECT hour, people, messages, bytes, forwarded, identity_numbers, sensitive
FROM mail_by_hour(from = {from:Date}, to = {to:Date}, tenant = {tenant:String}, population = {population:String}, unit = {unit:String}, direction = {direction:String}, category = {category:String}, k = {k:UInt32})
ORDER BY hour
LIMIT {limit:UInt64}
