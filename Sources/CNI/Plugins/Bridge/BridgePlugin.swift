import NetTypes
import Netlink
import Syscalls

/// The `bridge` plugin: a veth pair between the container and a bridge on the host (contract cni §B2).
///
/// The bridge, its gateway addresses and the forwarding switches are shared by all containers of a network: they
/// converge and are never taken back. What belongs to one container is undone when its ADD fails.
public struct BridgePlugin: CNIPlugin {
  /// As in `type` of a configuration.
  public static let name = "bridge"

  /// The plugin has no state.
  public init() {}

  /// Everything is read, checked and opened first; then bridge, veth pair, IPAM, gateway, container, in this order. The
  /// addresses, link state and routes of the container are set last and in one request, so that an interface with an
  /// address is the work of a complete ADD (see `PodAttachment.isHalfMade`).
  public func add(_ request: CNIRequest) throws -> CNIResult {
    let configuration = try BridgeConfiguration(request)
    var attachment = PodAttachment(configuration, request, try PodNamespaces(request.netns))
    do {
      return try attachment.make()
    } catch {
      attachment.undo()
      throw error
    }
  }

  /// A namespace or an interface that is gone is fine; a path that is no namespace is an error.
  public func del(_ request: CNIRequest) throws {
    let configuration = try BridgeConfiguration(removal: request.config)
    var addresses: [IPPrefix] = []
    if !request.netns.isEmpty, Files.exists(request.netns) { addresses = try deleteInterface(request) }
    if configuration.hasIPAM {
      try request.delegate(configuration.ipamType, .del, request.ownConfiguration)
    }
    if configuration.macSpoofCheck {
      var rules = try MACSpoofRules()
      try rules.remove(MACSpoofCheck(attachment: request.attachment))
    }
    if configuration.ipMasq {
      if addresses.isEmpty { addresses = (try? request.previousResult())?.ips.map(\.address) ?? [] }
      try MasqueradeRules.remove(Masquerade(request, addresses), request.environment)
    }
  }

  /// Deletes the container's interface and returns the addresses it had.
  private func deleteInterface(_ request: CNIRequest) throws(CNIError) -> [IPPrefix] {
    let container = try NetworkNamespace.open(request.netns)
    let home = try NetworkNamespace.home()
    var pod = try container.visit(from: home) { () throws(CNIError) in try RouteSocket.ofThread() }
    return try doing("failed to delete \(quoted(request.ifname))") { () throws(NetlinkError) in
      guard let link = try pod.link(named: request.ifname) else { return [] }
      let addresses = try pod.addresses(device: link.index).filter { $0.scope == 0 }.map(\.prefix)
      var batch = RouteBatch()
      batch.deleteLink(index: link.index)
      let failures = try pod.send(batch)
      // Gone in the meantime: the other end may have been deleted.
      if let f = failures.first, f.errno != .noDevice {
        throw NetlinkError(operation: "delete link", object: request.ifname, errno: f.errno, message: f.message)
      }
      return addresses
    }
  }

  /// Compares what ADD reported with what is there.
  public func check(_ request: CNIRequest) throws {
    let configuration = try BridgeConfiguration(request)
    if configuration.hasIPAM {
      try request.delegate(configuration.ipamType, .check, request.ownConfiguration)
    }
    guard let result = try request.previousResult() else { throw CNIError.plain("Required prevResult missing") }
    var check = PodCheck(configuration, request, try PodNamespaces(request.netns))
    try check.run(result)
  }

  /// The IPAM plugin is asked.
  public func status(_ request: CNIRequest) throws {
    let configuration = try BridgeConfiguration(request)
    if configuration.hasIPAM {
      try request.delegate(configuration.ipamType, .status, request.ownConfiguration)
    }
  }

  /// Interfaces vanish with their namespaces; reservations and rules do not.
  public func gc(_ request: CNIRequest) throws {
    let configuration = try BridgeConfiguration(removal: request.config)
    let valid = try request.validAttachments()
    if configuration.ipMasq { try MasqueradeRules.removeInvalid(request, valid) }
    if configuration.macSpoofCheck {
      var links = try RouteSocket.ofThread()
      var rules = try MACSpoofRules()
      try rules.removeInvalid(valid) { name throws(CNIError) in
        try doing("could not lookup \(quoted(name))") { () throws(NetlinkError) in try links.link(named: name) } != nil
      }
    }
    if configuration.hasIPAM {
      try request.delegate(configuration.ipamType, .gc, request.ownConfiguration)
    }
  }
}
