import JSON
import NetTypes
import Syscalls

/// The configuration of the flannel plugin and what it makes of it for the delegate (contract cni §B1).
struct FlannelConfiguration {
  var name: String
  var cniVersion: String?
  var subnetFile: String
  var dataDirectory: String
  var delegate: JSONObject
  var ipam: JSONObject
  var runtime: JSONObject?

  init(_ request: CNIRequest) throws(CNIError) {
    let o = request.config
    name = request.name
    do throws(CNIError) {
      subnetFile = try o.string("subnetFile") ?? "/run/flannel/subnet.env"
      dataDirectory = try o.string("dataDir") ?? "/var/lib/cni/flannel"
      delegate = try o.object("delegate") ?? JSONObject()
      ipam = try o.object("ipam") ?? JSONObject()
      runtime = try o.object("runtimeConfig")
      cniVersion = try o.string("cniVersion")
    } catch {
      throw .plain("failed to load netconf: \(error.message)", .decodingFailure)
    }
    if cniVersion?.isEmpty == true { cniVersion = nil }
  }

  /// The node's subnets.
  func subnetEnvironment() throws(CNIError) -> SubnetEnvironment {
    do throws(CNIError) {
      return try SubnetEnvironment(file: subnetFile)
    } catch {
      throw .plain(
        "failed to load flannel 'subnet.env' file: \(error.message). Check the flannel pod log for this node.")
    }
  }

  /// What `delegate` must not hold.
  func checkDelegate() throws(CNIError) {
    if let type = delegate["type"], type.stringValue == nil {
      throw invalid("'delegate' dictionary, if present, must have (string) 'type' field")
    }
    for key in ["name", "ipam"] where delegate[key] != nil {
      throw invalid("'delegate' dictionary must not have '\(key)' field, it'll be set by flannel")
    }
  }

  var delegateType: String { delegate["type"]?.stringValue ?? "bridge" }

  /// The delegate's configuration.
  /// - Parameter node: nil leaves out what only ADD needs, so that GC works without the file.
  func delegateConfiguration(_ node: SubnetEnvironment?) throws(CNIError) -> JSONObject {
    var d = delegate
    if let runtime { d["runtimeConfig"] = .object(runtime) }
    d["name"] = .string(name)
    d["type"] = .string(delegateType)
    if let node {
      if d["ipMasq"] == nil { d["ipMasq"] = .bool(!node.ipMasq) }
      if d["mtu"] == nil { d["mtu"] = .integer(node.mtu) }
    }
    if delegateType == "bridge", d["isGateway"] == nil { d["isGateway"] = true }
    if let cniVersion { d["cniVersion"] = .string(cniVersion) }
    d["ipam"] = .object(try delegateIPAM(node))
    return d
  }

  private func delegateIPAM(_ node: SubnetEnvironment?) throws(CNIError) -> JSONObject {
    var i = ipam
    if i["type"] == nil { i["type"] = "host-local" }
    guard let node else { return i }
    i["ranges"] = .array(
      [node.subnet, node.ipv6Subnet].compactMap { $0 }.map { .array([["subnet": .string($0.description)]]) })
    var routes: [JSONValue] = []
    do throws(CNIError) {
      for v in try ipam.array("routes") ?? [] { routes.append(.object(try CNIResult.Route(json: v).json)) }
    } catch {
      throw invalid(
        "failed to assemble Delegate IPAM: failed to read IPAM routes: failed to parse ipam.routes: \(error.message)")
    }
    for n in node.networks + node.ipv6Networks { routes.append(["dst": .string(n.description)]) }
    i["routes"] = .array(routes)
    return i
  }
}
