import CLinux

/// A non-blocking socket on which the kernel tells about changes.
public struct RouteMonitor: ~Copyable, Sendable {
  /// What to be told about (`RTNLGRP_*`).
  public enum Group: UInt32, Hashable, Sendable, CaseIterable {
    case link = 1
    /// Neighbours and FDB entries.
    case neighbour = 3
    case ipv4Address = 5
    case ipv4Route = 7
    case ipv6Address = 9
    case ipv6Route = 11
    case nexthop = 32
  }

  private var socket: MonitorSocket

  /// Listens in the calling thread's network namespace.
  public init(groups: Set<Group>) throws(NetlinkError) {
    socket = try MonitorSocket(NETLINK_ROUTE, groups: Self.mask(groups), receiveBuffer: 8 << 20)
  }

  /// Listens in a network namespace.
  /// - Parameter receiveBuffer: bytes the kernel may queue; the default holds about 10,000 events.
  public init(
    groups: Set<Group>, in namespace: borrowing NetworkNamespace, receiveBuffer: Int32 = 8 << 20
  ) throws(NetlinkError) {
    socket = try MonitorSocket(NETLINK_ROUTE, in: namespace, groups: Self.mask(groups), receiveBuffer: receiveBuffer)
  }

  private static func mask(_ groups: Set<Group>) -> UInt32 {
    groups.reduce(UInt32(0)) { $0 | UInt32(1) << ($1.rawValue - 1) }
  }

  /// Leaves out events that a request from this port caused: a program need not be told of its own changes. The kernel
  /// does not name the cause of FDB events, which come all the same. Without effect where filters are not allowed.
  public func ignore(port: UInt32) { socket.ignore(port: port) }

  /// For `poll(2)`: readable when there are events.
  public var descriptor: Int32 { socket.descriptor }

  /// Hands out what is queued, without waiting. Lost or malformed messages give `.overflow`.
  public mutating func read(_ handler: (RouteEvent) -> Void) throws(NetlinkError) {
    try socket.read({ if let event = RouteEvent($0) { handler(event) } }, lost: { handler(.overflow) })
  }
}
