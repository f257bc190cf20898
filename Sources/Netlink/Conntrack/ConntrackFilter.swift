import NetTypes

/// Which connections are meant; what is nil may be anything.
public struct ConntrackFilter: Hashable, Sendable {
  /// What packets of one direction look like.
  public struct Direction: Hashable, Sendable {
    /// Where packets come from.
    public var source: IPPrefix?
    /// Where they go.
    public var destination: IPPrefix?
    /// One of these. Connections without ports never match.
    public var sourcePorts: Set<UInt16>?
    /// One of these. Connections without ports never match.
    public var destinationPorts: Set<UInt16>?

    /// Any packet, unless told otherwise.
    public init(
      source: IPPrefix? = nil, destination: IPPrefix? = nil, sourcePorts: Set<UInt16>? = nil,
      destinationPorts: Set<UInt16>? = nil
    ) {
      self.source = source
      self.destination = destination
      self.sourcePorts = sourcePorts
      self.destinationPorts = destinationPorts
    }
  }

  /// The family of the addresses.
  public var family: AddressFamily?
  /// An IP protocol number.
  public var transport: UInt8?
  /// The direction of the first packet, before any address translation.
  public var original: Direction
  /// The direction of answers.
  public var reply: Direction
  /// The connection mark, in the bits of `markMask`.
  public var mark: UInt32?
  /// The bits of `mark` that count.
  public var markMask: UInt32
  /// Status bits that must be set.
  public var status: ConntrackStatus
  /// Status bits that must not be set.
  public var excludedStatus: ConntrackStatus
  /// How far the connection is.
  public var state: ConntrackState?
  /// The zone of the connection or of one direction; 0 is the default zone.
  public var zone: UInt16?

  /// Every connection, unless told otherwise.
  public init(
    family: AddressFamily? = nil, transport: UInt8? = nil, original: Direction = .init(), reply: Direction = .init(),
    mark: UInt32? = nil, markMask: UInt32 = .max, status: ConntrackStatus = [], excludedStatus: ConntrackStatus = [],
    state: ConntrackState? = nil, zone: UInt16? = nil
  ) {
    self.family = family
    self.transport = transport
    self.original = original
    self.reply = reply
    self.mark = mark
    self.markMask = markMask
    self.status = status
    self.excludedStatus = excludedStatus
    self.state = state
    self.zone = zone
  }

  /// True for a connection that is meant.
  public func matches(_ entry: ConntrackEntry) -> Bool {
    if let family, entry.family != family { return false }
    if let transport, entry.transport != transport { return false }
    if let mark, (entry.mark ^ mark) & markMask != 0 { return false }
    if let state, entry.state != state { return false }
    // A connection has one zone, for both directions or for one of them.
    if let zone, entry.zone | entry.original.zone | entry.reply.zone != zone { return false }
    return entry.status.isSuperset(of: status) && entry.status.isDisjoint(with: excludedStatus)
      && original.matches(entry.original) && reply.matches(entry.reply)
  }
}

extension ConntrackFilter.Direction {
  /// True for packets that are meant.
  func matches(_ tuple: ConntrackTuple) -> Bool {
    if let source, !source.contains(tuple.source) { return false }
    if let destination, !destination.contains(tuple.destination) { return false }
    if let sourcePorts, !(tuple.sourcePort.map(sourcePorts.contains) ?? false) { return false }
    if let destinationPorts, !(tuple.destinationPort.map(destinationPorts.contains) ?? false) { return false }
    return true
  }
}
