import CLinux
import NetTypes
import Syscalls

/// A synchronous rtnetlink (`NETLINK_ROUTE`) socket for requests and dumps. It stays in the network namespace it was
/// opened in, whichever thread uses it.
public struct RouteSocket: ~Copyable, Sendable {
  var socket: NetlinkSocket

  /// Opens a socket in the calling thread's network namespace.
  public init() throws(NetlinkError) {
    let number: Int32
    do {
      number = try Self.open()
    } catch {
      throw NetlinkError(error)
    }
    socket = try NetlinkSocket(adopting: number)
  }

  /// Opens a socket in a network namespace, from a throw-away thread.
  public init(in namespace: borrowing NetworkNamespace) throws(NetlinkError) {
    let number: Int32
    do {
      number = try namespace.run { () throws(SystemError) in try Self.open() }
    } catch {
      throw NetlinkError(error)
    }
    socket = try NetlinkSocket(adopting: number)
  }

  /// A new socket in the calling thread's namespace; the caller closes the number.
  static func open() throws(SystemError) -> Int32 { try NetlinkSocket.open(NETLINK_ROUTE) }

  /// The socket's netlink port, as `ss -f netlink` shows it.
  public var portID: UInt32 { socket.portID }

  /// Sends the batch and returns the failures in the order of the requests. Requests after a failed one are carried
  /// out all the same.
  /// - Throws: only if the socket itself fails; what was done is unknown then.
  @discardableResult
  public mutating func send(_ batch: borrowing RouteBatch) throws(NetlinkError) -> [RouteBatch.Failure] {
    var failures: [RouteBatch.Failure] = []
    do {
      try socket.transact(batch.writer) { sequence, errno, text in
        failures.append(.init(index: Int(sequence) - 1, errno: errno, message: text))
      }
    } catch {
      throw NetlinkError(error)
    }
    return failures
  }

  /// Sends the batch and throws the first failure; the other requests are carried out all the same.
  public mutating func apply(_ batch: borrowing RouteBatch) throws(NetlinkError) {
    if let failure = try send(batch).first { throw batch.error(failure) }
  }
}
