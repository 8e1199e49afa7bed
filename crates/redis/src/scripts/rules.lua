-- The rules of turns, as `tidewire_threads::after` has them.

local function is_over(status)
  return status ~= 'accepted' and status ~= 'running'
end

-- What a turn is behind an event that ends it so (`ends`) or does not end it. Nothing if it had ended
-- before and is said to end again.
local function after(status, ends)
  if ends then
    if is_over(status) then
      return nil
    end
    return ends
  end
  if is_over(status) then
    return status
  end
  return 'running'
end
