import CLinux
import Glibc
import Syscalls

/// A netlink socket: sends encoded messages, receives datagrams of the kernel. What is asked and how answers are read
/// is in the extensions.
struct NetlinkSocket: ~Copyable, Sendable {
  /// The open socket.
  let descriptor: FileDescriptor
  /// The port the kernel gave us.
  let portID: UInt32
  /// Most requests that may be under way: their acknowledgements must fit into the receive buffer.
  let requestLimit: Int
  /// The last datagram received. Large enough for what the kernel puts into one part of a dump; grows when it says so.
  var incoming = ByteBuffer(capacity: 32 << 10)
  /// The single request being built.
  var outgoing = MessageWriter()
  /// Number of the last request that is not part of a batch; a batch counts from 1.
  var sequence: UInt32 = 0x8000_0000
  /// An exchange was left before its end: answers may still be queued.
  var hasLeftovers = false

  /// Bytes of requests per `sendmsg`: below the smallest usual send buffer (212,992 bytes).
  static let datagramSize = 128 << 10

  /// Opens a socket in the calling thread's namespace. The caller closes the number.
  static func open(_ netlinkProtocol: Int32) throws(SystemError) -> Int32 {
    try retrying("open netlink socket") {
      socket(AF_NETLINK, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), netlinkProtocol)
    }
  }

  /// Takes over a socket made by `open`, in whatever namespace.
  /// - Parameters:
  ///   - groups: multicast groups 1…32 to join, as a bit mask.
  ///   - receiveBuffer: bytes the kernel may queue for us.
  init(adopting number: Int32, groups: UInt32 = 0, receiveBuffer: Int32 = 4 << 20) throws(NetlinkError) {
    descriptor = FileDescriptor(adopting: number)
    Self.setOption(number, SOL_SOCKET, SO_SNDBUFFORCE, 1 << 20, else: SO_SNDBUF)
    Self.setOption(number, SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer, else: SO_RCVBUF)
    Self.setOption(number, SOL_NETLINK, NETLINK_CAP_ACK, 1)
    Self.setOption(number, SOL_NETLINK, NETLINK_EXT_ACK, 1)
    Self.setOption(number, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
    var size: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    _ = unsafe getsockopt(number, SOL_SOCKET, SO_RCVBUF, &size, &length)
    // The kernel accounts a queued acknowledgement with less than 2 KiB.
    requestLimit = max(Int(size) / 2048, 16)
    do {
      portID = try Self.bind(number, groups)
    } catch {
      throw NetlinkError(error)
    }
  }

  /// Sets an integer option, or the other one where the first is refused. Options are wishes: an old kernel may not
  /// know them, and everything works without them.
  static func setOption(_ fd: Int32, _ level: Int32, _ option: Int32, _ value: Int32, else other: Int32? = nil) {
    var v = value
    let size = socklen_t(MemoryLayout<Int32>.size)
    if unsafe setsockopt(fd, level, option, &v, size) != 0, let other {
      _ = unsafe setsockopt(fd, level, other, &v, size)
    }
  }

  /// Binds to a port of the kernel's choice and returns it.
  private static func bind(_ fd: Int32, _ groups: UInt32) throws(SystemError) -> UInt32 {
    var address = sockaddr_nl()
    address.nl_family = sa_family_t(AF_NETLINK)
    address.nl_groups = groups
    var size = socklen_t(MemoryLayout<sockaddr_nl>.size)
    try retrying("bind netlink socket") {
      unsafe withUnsafePointer(to: &address) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe Glibc.bind(fd, $0, size) }
      }
    }
    try retrying("read port of netlink socket") {
      unsafe withUnsafeMutablePointer(to: &address) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe getsockname(fd, $0, &size) }
      }
    }
    return address.nl_pid
  }

  /// What `receive` found.
  enum Reception {
    /// `incoming` holds a datagram of the kernel.
    case datagram
    /// Nothing is queued (non-blocking only).
    case nothing
    /// The datagram was larger than `incoming`, which is now large enough for the next one; its content is lost.
    case truncated
    /// The kernel had to drop messages for want of buffer space.
    case overrun
  }

  /// Receives the next datagram that comes from the kernel; what others send is dropped.
  mutating func receive(waiting: Bool) throws(SystemError) -> Reception {
    let fd = descriptor.number
    let flags = Int32(MSG_TRUNC) | (waiting ? 0 : Int32(MSG_DONTWAIT))
    while true {
      var sender = sockaddr_nl()
      var size = socklen_t(MemoryLayout<sockaddr_nl>.size)
      let n = unsafe incoming.fill { memory in
        unsafe withUnsafeMutablePointer(to: &sender) {
          unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            unsafe recvfrom(fd, memory.baseAddress, memory.count, flags, $0, &size)
          }
        }
      }
      if n < 0 {
        switch Errno.current {
        case .interrupted: continue
        case .wouldBlock: return .nothing
        case .noBuffers: return .overrun
        case let e: throw SystemError("receive from netlink", "", e)
        }
      }
      guard sender.nl_pid == 0 else { continue }
      if n > incoming.capacity {
        incoming.clear()
        incoming.reserve(n)
        return .truncated
      }
      return .datagram
    }
  }

  /// Drops everything that is queued.
  mutating func discardLeftovers() throws(SystemError) {
    guard hasLeftovers else { return }
    while true {
      if case .nothing = try receive(waiting: false) { break }
    }
    hasLeftovers = false
  }
}
