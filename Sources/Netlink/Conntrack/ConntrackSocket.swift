import CLinux
import NetTypes
import Syscalls

/// The kernel's table of connections. It stays in the network namespace it was opened in.
public struct ConntrackSocket: ~Copyable, Sendable {
  /// For questions.
  var reader: NetlinkSocket
  /// For deletions: they go on while the reader is in the middle of a dump.
  var writer: NetlinkSocket

  /// Opens the table of the calling thread's network namespace.
  public init() throws(NetlinkError) {
    let first = try NetlinkSocket(adopting: Self.open())
    writer = try NetlinkSocket(adopting: Self.open())
    reader = first
  }

  /// Opens the table of a network namespace, from throw-away threads.
  public init(in namespace: borrowing NetworkNamespace) throws(NetlinkError) {
    let first = try NetlinkSocket(adopting: Self.open(in: namespace))
    writer = try NetlinkSocket(adopting: Self.open(in: namespace))
    reader = first
  }

  private static func open() throws(NetlinkError) -> Int32 {
    do throws(SystemError) {
      return try NetlinkSocket.open(NETLINK_NETFILTER)
    } catch {
      throw NetlinkError(error)
    }
  }

  private static func open(in namespace: borrowing NetworkNamespace) throws(NetlinkError) -> Int32 {
    do throws(SystemError) {
      return try namespace.run { () throws(SystemError) in try NetlinkSocket.open(NETLINK_NETFILTER) }
    } catch {
      throw NetlinkError(error)
    }
  }

  /// The netlink port that deletions come from, for `ConntrackMonitor.ignore`.
  public var portID: UInt32 { writer.portID }

  /// Calls `each` with every connection that is meant, one after the other as they come from the kernel: no list is
  /// kept, so the table may be of any size.
  /// - Returns: false when the kernel said that the table changed so much under the dump, or lost a part of it, that
  ///   connections may be missing. One that comes twice is possible at any time.
  @discardableResult
  public mutating func dump(
    _ filter: ConntrackFilter = ConntrackFilter(), each: (ConntrackEntry) -> Void
  ) throws(NetlinkError) -> Bool {
    try reader.ask("list connections", ConntrackMessage.get, flags: MessageFlags.dump) {
      filter.encodeRequest(into: &$0)
    } each: {
      if let entry = ConntrackEntry($0), filter.matches(entry) { each(entry) }
    }
  }
}
