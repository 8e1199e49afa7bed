-- What the scripts share. Keys, in this order: what is known of this log as a whole; a thread, its events,
-- its turns, the ids of its events, its open turns, its ended turns; the log of everything; when threads
-- were last written.

local META, THREAD, EVENTS, TURNS, IDS, OPEN, ENDED, LOG, ACTIVE =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]

local op = cjson.decode(ARGV[1])

-- A place as text: Lua's own would write large ones with an exponent.
local function int(n)
  return string.format('%.0f', n)
end

local function say(answer)
  return cjson.encode(answer)
end

local meta = redis.call('HMGET', META, 'run', 'gen', 'evicted')
-- The connection is older than the server that it leads to, or the other way round.
if meta[1] ~= op.run or meta[2] ~= op.generation then
  return say({ is = 'moved' })
end
local evicted = tonumber(meta[3] or '0')

-- One entry of the log of everything, and the same events one by one on their thread.
local function write(news, flags)
  local texts = {}
  for i, new in ipairs(news) do
    redis.call('XADD', EVENTS, int(new.seq) .. '-0', 'e', new.text, 'i', new.id)
    redis.call('HSET', IDS, new.id, int(new.seq))
    texts[i] = new.text
  end
  redis.call('HSET', THREAD, 'seq', int(news[#news].seq), 'at', int(op.now))
  redis.call('ZADD', ACTIVE, int(op.now), op.tenant .. '/' .. op.thread)
  redis.call('XADD', LOG, '*', 't', op.tenant, 'h', op.thread, 's', int(news[1].seq),
    'n', int(#news), 'f', flags, 'b', '[' .. table.concat(texts, ',') .. ']')
end

local function pack(turn)
  return turn.status .. ' ' .. int(turn.first) .. ' ' .. int(turn.ended) .. ' ' .. int(turn.created)
end
