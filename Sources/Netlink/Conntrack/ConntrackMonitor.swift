import CLinux

/// A change of the table of connections.
public enum ConntrackEvent: Hashable, Sendable {
  case created(ConntrackEntry)
  /// What the event does not tell (timeout, mark, …) may be as before.
  case updated(ConntrackEntry)
  /// Deleted or timed out.
  case destroyed(ConntrackEntry)
  /// Events were lost: the table must be read again.
  case overflow

  /// nil for messages that say nothing about connections.
  @inline(__always)
  init?(_ message: borrowing Message) {
    guard let entry = ConntrackEntry(message) else { return nil }
    if message.type == ConntrackMessage.delete {
      self = .destroyed(entry)
    } else {
      self = message.flags & MessageFlags.create != 0 ? .created(entry) : .updated(entry)
    }
  }
}

/// A non-blocking socket on which the kernel tells about changes of the table of connections. Of a connection that
/// began before anybody listened it tells nothing, unless `net.netfilter.nf_conntrack_events` is 1.
public struct ConntrackMonitor: ~Copyable, Sendable {
  /// What to be told about (`NFNLGRP_CONNTRACK_*`).
  public enum Group: UInt32, Hashable, Sendable, CaseIterable {
    case new = 1
    case update = 2
    case destroy = 3
  }

  private var socket: MonitorSocket

  /// Listens in the calling thread's network namespace.
  public init(groups: Set<Group>) throws(NetlinkError) {
    socket = try MonitorSocket(NETLINK_NETFILTER, groups: Self.mask(groups), receiveBuffer: 8 << 20)
  }

  /// Listens in a network namespace.
  /// - Parameter receiveBuffer: bytes the kernel may queue.
  public init(
    groups: Set<Group>, in namespace: borrowing NetworkNamespace, receiveBuffer: Int32 = 8 << 20
  ) throws(NetlinkError) {
    socket = try MonitorSocket(
      NETLINK_NETFILTER, in: namespace, groups: Self.mask(groups), receiveBuffer: receiveBuffer)
  }

  private static func mask(_ groups: Set<Group>) -> UInt32 {
    groups.reduce(UInt32(0)) { $0 | UInt32(1) << ($1.rawValue - 1) }
  }

  /// Leaves out events that a request from this port caused. Without effect where filters are not allowed.
  public func ignore(port: UInt32) { socket.ignore(port: port) }

  /// For `poll(2)`: readable when there are events.
  public var descriptor: Int32 { socket.descriptor }

  /// Hands out what is queued, without waiting. Lost or malformed messages give `.overflow`.
  public mutating func read(_ handler: (ConntrackEvent) -> Void) throws(NetlinkError) {
    try socket.read({ if let event = ConntrackEvent($0) { handler(event) } }, lost: { handler(.overflow) })
  }
}
