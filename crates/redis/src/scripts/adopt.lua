-- Takes up the log in this life of the server, and answers its generation, which never goes back.
-- KEYS: what is known of the log. ARGV: the run, the generation.

local known = tonumber(redis.call('HGET', KEYS[1], 'gen') or '0')
local generation = ARGV[2]
if known > tonumber(generation) then
  generation = string.format('%.0f', known)
end
redis.call('HSET', KEYS[1], 'run', ARGV[1], 'gen', generation)
return generation
