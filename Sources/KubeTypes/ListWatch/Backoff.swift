/// How long to wait before the next try: twice as long after each failure, up to a limit, less a random part so that a
/// cluster's nodes do not come back all at once.
public struct Backoff: Hashable, Sendable {
  /// The longest wait after the first failure, in nanoseconds.
  public var first: Int64
  /// The longest wait of all, in nanoseconds.
  public var limit: Int64
  /// Failures since the last success.
  public private(set) var failures = 0

  /// Times in nanoseconds.
  public init(first: Int64 = 200_000_000, limit: Int64 = 30_000_000_000) {
    self.first = first
    self.limit = limit
  }

  /// Another failure: the wait before the next try, between half of the longest and the longest.
  public mutating func next(_ random: inout SplitMix64) -> Int64 {
    let longest = min(first << Int64(min(failures, 20)), limit)
    failures += 1
    return longest / 2 + Int64.random(in: 0...longest / 2, using: &random)
  }

  /// It works again.
  public mutating func reset() { failures = 0 }
}

/// A small random number generator whose sequence is given by its seed, so that tests know what comes.
public struct SplitMix64: RandomNumberGenerator, Hashable, Sendable {
  private var state: UInt64

  /// Equal seeds give equal sequences.
  public init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
