import NetTypes

/// A connection the kernel keeps track of.
public struct ConntrackEntry: Hashable, Sendable {
  /// Traffic of one direction.
  public struct Counters: Hashable, Sendable {
    /// Packets seen.
    public var packets: UInt64
    /// Bytes in them, from the IP header on.
    public var bytes: UInt64

    /// Both as given.
    public init(packets: UInt64, bytes: UInt64) {
      self.packets = packets
      self.bytes = bytes
    }
  }

  /// The kernel's number of the entry: another one when the same tuple is tracked anew. 0 = not told.
  public var id: UInt32
  /// The direction of the first packet, before any address translation.
  public var original: ConntrackTuple
  /// What answers look like when they arrive; not the mirror of `original` where addresses are translated.
  public var reply: ConntrackTuple
  /// What has happened to it so far.
  public var status: ConntrackStatus
  /// Seconds until it is forgotten if no packet comes; nil = not told, as for an entry that is gone.
  public var timeout: UInt32?
  /// The connection mark.
  public var mark: UInt32
  /// References the kernel holds; nil = not told.
  public var use: UInt32?
  /// nil for protocols without states.
  public var state: ConntrackState?
  /// The zone of both directions; a zone of one direction is in its tuple. 0 is the default.
  public var zone: UInt16
  /// nil unless `net.netfilter.nf_conntrack_acct` is on.
  public var originalCounters: Counters?
  /// nil unless `net.netfilter.nf_conntrack_acct` is on.
  public var replyCounters: Counters?
  /// Nanoseconds since 1970; nil unless `net.netfilter.nf_conntrack_timestamp` is on.
  public var start: UInt64?
  /// Nanoseconds since 1970, for an entry that is gone.
  public var stop: UInt64?

  /// What is left out is not known.
  public init(
    id: UInt32 = 0, original: ConntrackTuple, reply: ConntrackTuple, status: ConntrackStatus = [],
    timeout: UInt32? = nil, mark: UInt32 = 0, use: UInt32? = nil, state: ConntrackState? = nil, zone: UInt16 = 0,
    originalCounters: Counters? = nil, replyCounters: Counters? = nil, start: UInt64? = nil, stop: UInt64? = nil
  ) {
    self.id = id
    self.original = original
    self.reply = reply
    self.status = status
    self.timeout = timeout
    self.mark = mark
    self.use = use
    self.state = state
    self.zone = zone
    self.originalCounters = originalCounters
    self.replyCounters = replyCounters
    self.start = start
    self.stop = stop
  }

  /// Both directions are of this family.
  public var family: AddressFamily { original.family }
  /// The IP protocol number.
  public var transport: UInt8 { original.transport }
}
