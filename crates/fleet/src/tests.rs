mod agents;
mod house;
mod offered;
mod pushed;
mod sharing;
