import CLinux
import Glibc
import NetTypes
import Syscalls
import Testing

@testable import Netlink

/// The conversation with the kernel. Only reads, so it needs no privileges.
@Suite struct SocketTests {
  private func open() throws -> NetlinkSocket {
    try NetlinkSocket(adopting: try NetlinkSocket.open(NETLINK_ROUTE))
  }

  private func names(_ socket: inout NetlinkSocket) throws -> [String] {
    try socket.collect("list links", RouteMessage.getLink, flags: MessageFlags.dump) {
      $0.header(linkHeader())
    } decode: {
      Link($0)?.name
    }
  }

  @Test func growsForWhatDoesNotFit() throws {
    var socket = try open()
    let expected = try names(&socket)
    #expect(expected.contains("lo"))
    socket.incoming = ByteBuffer(capacity: 64)
    #expect(try names(&socket) == expected)
    #expect(socket.incoming.capacity > 64)
  }

  @Test func ignoresAnswersToOtherRequests() throws {
    var socket = try open()
    let expected = try names(&socket)
    // A question nobody reads the answer to, as after an exchange that was given up.
    socket.outgoing.clear()
    socket.outgoing.message(RouteMessage.getLink, 0, sequence: 99) { $0.header(linkHeader(index: 1)) }
    let fd = socket.descriptor.number
    let sent = socket.outgoing.buffer.bytes.withUnsafeBytes { send(fd, $0.baseAddress, $0.count, 0) }
    #expect(sent == 32)
    #expect(try names(&socket) == expected, "skipped by its number")
    socket.outgoing.clear()
    socket.outgoing.message(RouteMessage.getLink, MessageFlags.dump, sequence: 98) { $0.header(linkHeader()) }
    _ = socket.outgoing.buffer.bytes.withUnsafeBytes { send(fd, $0.baseAddress, $0.count, 0) }
    socket.hasLeftovers = true
    #expect(try names(&socket) == expected, "a dump that was left is read to its end first")
  }

  @Test func ignoresWhatOtherProgramsSend() throws {
    var socket = try open()
    let other = try open()
    var address = sockaddr_nl()
    address.nl_family = sa_family_t(AF_NETLINK)
    address.nl_pid = socket.portID
    var forged = MessageWriter()
    forged.message(RouteMessage.newLink, 0, sequence: 1) {
      $0.header(linkHeader(index: 1))
      $0.attribute(LinkAttribute.name, "forged0")
    }
    let fd = other.descriptor.number
    let sent = forged.buffer.bytes.withUnsafeBytes { bytes in
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          sendto(fd, bytes.baseAddress, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
        }
      }
    }
    // Unprivileged programs may not send it in the first place.
    #expect(sent > 0 || errno == EPERM || errno == ECONNREFUSED)
    guard case .nothing = try socket.receive(waiting: false) else {
      Issue.record("a message that is not the kernel's was accepted")
      return
    }
  }

  @Test func portsDiffer() throws {
    let a = try RouteSocket()
    let b = try RouteSocket()
    #expect(a.portID != 0 && b.portID != 0 && a.portID != b.portID)
  }

  @Test func refusalsCarryTheKernelsText() throws {
    var socket = try open()
    let error = #expect(throws: NetlinkError.self) {
      // A strict kernel refuses a link dump with an interface index.
      _ = try socket.collect("list links", on: "of 7", RouteMessage.getLink, flags: MessageFlags.dump) {
        $0.header(linkHeader(index: 7))
      } decode: {
        Link($0)
      }
    }
    #expect(error?.errno == .invalid && error?.message?.isEmpty == false)
    #expect(error?.description.hasPrefix("list links of 7: invalid argument (kernel: ") == true)
  }

  @Test func buffersGrowAndKeepTheirContent() {
    var buffer = ByteBuffer(capacity: 0)
    for i in 0..<10_000 { buffer.append(UInt32(i)) }
    #expect(buffer.count == 40_000)
    let span = buffer.bytes
    #expect((0..<10_000).allSatisfy { span.load(4 * $0, as: UInt32.self) == UInt32($0) })
    #expect(span.load(39_997, as: UInt32.self) == nil && span.load(-1, as: UInt8.self) == nil)
    #expect(span.load(Int.max, as: UInt8.self) == nil)
  }
}
