import CLinux
import NetTypes

/// Size of the table of connections, and what happened in it.
public struct ConntrackStatistics: Hashable, Sendable {
  /// What one processor has counted since the network namespace was made.
  public struct Processor: Hashable, Sendable {
    /// Number of the processor, from 0.
    public var number: UInt16
    /// Look-ups that found an entry for a tuple that was to be made unique.
    public var found: UInt32 = 0
    /// Packets that could not be tracked.
    public var invalid: UInt32 = 0
    /// Entries added.
    public var insert: UInt32 = 0
    /// Entries that could not be added because the same one was there.
    public var insertFailed: UInt32 = 0
    /// Packets dropped because the table or the memory was full.
    public var drop: UInt32 = 0
    /// Entries dropped to make room in a full table.
    public var earlyDrop: UInt32 = 0
    /// Packets that were malformed.
    public var error: UInt32 = 0
    /// Look-ups started anew because the table was resized.
    public var searchRestart: UInt32 = 0
    /// Entries that were added at the same time by two packets and became one.
    public var clashResolve: UInt32 = 0
    /// Entries not added because too many have the same hash.
    public var chainTooLong: UInt32 = 0
  }

  /// Connections in the table.
  public var count: UInt32
  /// The most there may be (`nf_conntrack_max`); nil where the kernel does not say (before 5.9).
  public var limit: UInt32?
  /// One for each processor.
  public var processors: [Processor] = []
}

extension ConntrackSocket {
  /// Number of connections in the table.
  public mutating func count() throws(NetlinkError) -> Int { Int(try size().count) }

  /// The table's size and each processor's counters.
  public mutating func stats() throws(NetlinkError) -> ConntrackStatistics {
    var statistics = try size()
    statistics.processors = try reader.collect(
      "read statistics of connections", ConntrackMessage.getCPUStatistics, flags: MessageFlags.dump
    ) {
      $0.header(Netfilter.header(family: FamilyNumber.any))
    } decode: {
      ConntrackStatistics.Processor($0)
    }
    return statistics
  }

  private mutating func size() throws(NetlinkError) -> ConntrackStatistics {
    let answers = try reader.collect("count connections", ConntrackMessage.getStatistics, flags: 0) {
      $0.header(Netfilter.header(family: FamilyNumber.any))
    } decode: {
      ConntrackStatistics($0)
    }
    guard let answer = answers.first else { throw NetlinkError(NetlinkSocket.malformed) }
    return answer
  }
}

extension ConntrackStatistics {
  /// Reads `IPCTNL_MSG_CT_GET_STATS`; nil for other messages and without a count.
  init?(_ message: borrowing Message) {
    guard message.type == ConntrackMessage.getStatistics else { return nil }
    var count: UInt32?
    var attributes = message.attributes(after: Netfilter.headerSize)
    while let a = attributes.next() {
      // CTA_STATS_GLOBAL_ENTRIES, CTA_STATS_GLOBAL_MAX_ENTRIES
      if a.type == 1 { count = a.bigUInt32 } else if a.type == 2 { limit = a.bigUInt32 }
    }
    guard let count else { return nil }
    self.count = count
  }
}

extension ConntrackStatistics.Processor {
  /// Reads `IPCTNL_MSG_CT_GET_STATS_CPU` with its `CTA_STATS_*`; nil for other messages. Counters that a kernel does not
  /// have stay 0.
  init?(_ message: borrowing Message) {
    guard message.type == ConntrackMessage.getCPUStatistics, let number = message.payload.load(2, as: UInt16.self)
    else {
      return nil
    }
    self.init(number: UInt16(bigEndian: number))
    var attributes = message.attributes(after: Netfilter.headerSize)
    while let a = attributes.next() {
      let value = a.bigUInt32 ?? 0
      switch a.type {
      case 2: found = value
      case 4: invalid = value
      case 8: insert = value
      case 9: insertFailed = value
      case 10: drop = value
      case 11: earlyDrop = value
      case 12: error = value
      case 13: searchRestart = value
      case 14: clashResolve = value
      case 15: chainTooLong = value
      default: break
      }
    }
  }
}
