import NetTypes
import Syscalls

/// Gives addresses from ranges of this node, remembering them in a directory (contract cni §B3). It shares its
/// directories with the reference plugin.
public struct HostLocalPlugin: CNIPlugin {
  /// `type` of an `ipam` object that calls this plugin.
  public static let name = "host-local"

  /// Holds no state: what is kept between calls is in the directory of the network.
  public init() {}

  /// Reserves an address of each set, or none at all. A set without a free address is code 11.
  public func add(_ request: CNIRequest) throws -> CNIResult {
    let c = try HostLocalConfiguration(request)
    var result = CNIResult(routes: c.routes)
    if !c.resolvConf.isEmpty { result.dns = CNIResult.DNS(resolvConf: try Files.text(c.resolvConf)) }
    guard var store = try ReservationStore.open(c.directory, create: true) else {
      throw SystemError("open", c.directory, .noEntry)
    }
    result.ips = try HostLocalAllocation.run(c, attachment(request), &store)
    return result
  }

  /// Frees the attachment's addresses; having none is no error.
  public func del(_ request: CNIRequest) throws {
    let c = try HostLocalConfiguration(locating: request)
    guard var store = try ReservationStore.open(c.directory, create: false) else { return }
    let own = attachment(request)
    for a in try store.addresses(of: own, thorough: true) { try store.release(a, own) }
    store.commit()
  }

  /// Fails when the attachment holds no address at all.
  public func check(_ request: CNIRequest) throws {
    let c = try HostLocalConfiguration(request)
    var found = false
    if var store = try ReservationStore.open(c.directory, create: false) {
      found = !(try store.addresses(of: attachment(request), thorough: true)).isEmpty
      store.commit()
    }
    guard found else {
      throw CNIError.plain("host-local: Failed to find address added by container \(request.containerID)")
    }
  }

  /// ADD can work when the configuration is right.
  public func status(_ request: CNIRequest) throws { _ = try HostLocalConfiguration(request) }

  /// Frees what belongs to no valid attachment, and empty files from before the boot. The reference plugin does nothing
  /// here and loses the addresses of containers that never got a DEL.
  public func gc(_ request: CNIRequest) throws {
    let c = try HostLocalConfiguration(locating: request)
    let valid = try request.validAttachments()
    let ids = Set(valid.map(\.containerID))
    guard var store = try ReservationStore.open(c.directory, create: false) else { return }
    for (a, holder) in try store.scan() {
      guard let holder else { continue }
      if holder.containerID.isEmpty, holder.ifname.isEmpty {
        _ = store.reclaim(a)
      } else if holder.ifname.isEmpty ? !ids.contains(holder.containerID) : !valid.contains(holder) {
        try store.release(a, holder)
      }
    }
    store.commit()
  }

  private func attachment(_ request: CNIRequest) -> CNIRequest.Attachment {
    let id = request.containerID
    let isSpace: (Character) -> Bool = \.isWhitespace
    let trimmed = id.drop(while: isSpace)
    let end = trimmed.lastIndex { !$0.isWhitespace }.map { trimmed.index(after: $0) } ?? trimmed.startIndex
    return CNIRequest.Attachment(containerID: String(trimmed[..<end]), ifname: request.ifname)
  }
}
