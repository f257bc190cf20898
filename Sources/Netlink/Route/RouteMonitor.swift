import CLinux
import Glibc
import Syscalls

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

  private var socket: NetlinkSocket

  /// Datagrams handled per `read`, so that a flood cannot keep the caller for ever; `poll` reports the rest.
  private static let limit = 16_384

  /// Listens in the calling thread's network namespace.
  public init(groups: Set<Group>) throws(NetlinkError) {
    let number: Int32
    do {
      number = try RouteSocket.open()
    } catch {
      throw NetlinkError(error)
    }
    try self.init(adopting: number, groups, 8 << 20)
  }

  /// Listens in a network namespace.
  /// - Parameter receiveBuffer: bytes the kernel may queue; the default holds about 10,000 events.
  public init(
    groups: Set<Group>, in namespace: borrowing NetworkNamespace, receiveBuffer: Int32 = 8 << 20
  ) throws(NetlinkError) {
    let number: Int32
    do {
      number = try namespace.run { () throws(SystemError) in try RouteSocket.open() }
    } catch {
      throw NetlinkError(error)
    }
    try self.init(adopting: number, groups, receiveBuffer)
  }

  private init(adopting number: Int32, _ groups: Set<Group>, _ receiveBuffer: Int32) throws(NetlinkError) {
    let mask = groups.reduce(UInt32(0)) { $0 | UInt32(1) << ($1.rawValue - 1) }
    socket = try NetlinkSocket(adopting: number, groups: mask, receiveBuffer: receiveBuffer)
  }

  /// Leaves out events that a request from this port caused: a program need not be told of its own changes. The kernel
  /// does not name the cause of FDB events, which come all the same. Without effect where filters are not allowed.
  public func ignore(port: UInt32) { _ = clinux_ignore_netlink_port(socket.descriptor.number, port) }

  /// For `poll(2)`: readable when there are events.
  public var descriptor: Int32 { socket.descriptor.number }

  /// Hands out what is queued, without waiting. Lost or malformed messages give `.overflow`.
  public mutating func read(_ handler: (RouteEvent) -> Void) throws(NetlinkError) {
    do {
      for _ in 0..<Self.limit {
        switch try socket.receive(waiting: false) {
        case .nothing: return
        case .overrun, .truncated: handler(.overflow)
        case .datagram:
          var reader = MessageReader(socket.incoming.bytes)
          while let message = reader.next() {
            if let event = RouteEvent(message) { handler(event) }
          }
          if reader.isMalformed { handler(.overflow) }
        }
      }
    } catch {
      throw NetlinkError(error)
    }
  }
}
