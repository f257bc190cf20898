import CLinux
import Glibc
import Syscalls

/// A non-blocking socket on which the kernel tells about changes; what the messages mean is the business of the
/// monitors built on it.
struct MonitorSocket: ~Copyable, Sendable {
  private var socket: NetlinkSocket

  /// Datagrams handled per `read`, so that a flood cannot keep the caller for ever; `poll` reports the rest.
  private static let limit = 16_384

  /// - Parameters:
  ///   - namespace: where to listen; nil = the calling thread's.
  ///   - groups: multicast groups 1…32, as a bit mask.
  ///   - receiveBuffer: bytes the kernel may queue.
  init(
    _ netlinkProtocol: Int32, in namespace: borrowing NetworkNamespace, groups: UInt32, receiveBuffer: Int32
  ) throws(NetlinkError) {
    let number: Int32
    do {
      number = try namespace.run { () throws(SystemError) in try NetlinkSocket.open(netlinkProtocol) }
    } catch {
      throw NetlinkError(error)
    }
    socket = try NetlinkSocket(adopting: number, groups: groups, receiveBuffer: receiveBuffer)
  }

  /// Listens in the calling thread's network namespace.
  init(_ netlinkProtocol: Int32, groups: UInt32, receiveBuffer: Int32) throws(NetlinkError) {
    let number: Int32
    do {
      number = try NetlinkSocket.open(netlinkProtocol)
    } catch {
      throw NetlinkError(error)
    }
    socket = try NetlinkSocket(adopting: number, groups: groups, receiveBuffer: receiveBuffer)
  }

  /// Leaves out events that a request from this port caused. Without effect where filters are not allowed.
  func ignore(port: UInt32) { _ = clinux_ignore_netlink_port(socket.descriptor.number, port) }

  /// For `poll(2)`: readable when there are events.
  var descriptor: Int32 { socket.descriptor.number }

  /// Hands out what is queued, without waiting. `lost` is called for messages that were dropped or malformed.
  mutating func read(
    _ message: (borrowing Message) -> Void, lost: () -> Void
  ) throws(NetlinkError) {
    do {
      for _ in 0..<Self.limit {
        switch try socket.receive(waiting: false) {
        case .nothing: return
        case .overrun, .truncated: lost()
        case .datagram:
          var reader = MessageReader(socket.incoming.bytes)
          while let m = reader.next() { message(m) }
          if reader.isMalformed { lost() }
        }
      }
    } catch {
      throw NetlinkError(error)
    }
  }
}
