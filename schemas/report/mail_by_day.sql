SELECT day, people, messages, bytes, forwarded, identity_numbers, sensitive
FROM mail_by_day(from = {from:Date}, to = {to:Date}, tenant = {tenant:String}, population = {population:String}, unit = {unit:String}, direction = {direction:String}, category = {category:String}, k = {k:UInt32})
ORDER BY day
LIMIT {limit:UInt64}
