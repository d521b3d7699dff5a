//! How a frame is fitted into a network's input, and boxes back into the frame.
