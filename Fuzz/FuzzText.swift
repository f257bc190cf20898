import Backends
import CNI
import JSON
import NetTypes
import Subnets

/// Any JSON; what is accepted must be the same after printing and reading again.
func fuzzJSON(_ input: [UInt8]) {
  guard let value = try? JSONValue(parsing: input) else { return }
  precondition((try? JSONValue(parsing: value.bytes())) == value)
}

/// The network configuration and the back end's options.
func fuzzConfiguration(_ input: [UInt8]) {
  guard let c = try? NetworkConfiguration(parsing: input) else { return }
  try? c.validate(pools: true)
  _ = try? VXLANConfiguration(c.backendOptions)
}

/// A lease's value with its back-end data, and its key.
func fuzzLease(_ input: [UInt8]) {
  if let attributes = try? LeaseAttributes(parsing: input) {
    for data in attributes.backendData.values { _ = try? VXLANData(text: data.text) }
  }
  if let key = LeaseKey(String(decoding: input, as: UTF8.self)) { precondition(LeaseKey(key.description) == key) }
}

/// What a container runtime sends: configuration on standard input, a previous result, a list, subnet.env.
func fuzzCNI(_ input: [UInt8]) {
  let environment: PluginEnvironment = [
    "CNI_COMMAND": "CHECK", "CNI_CONTAINERID": "id", "CNI_NETNS": "/nonexistent", "CNI_IFNAME": "eth0",
    "CNI_PATH": "/nonexistent",
  ]
  for plugin in PluginRegistry.all {
    _ = try? CNIRequest.parse(
      environment: environment, about: "", supported: type(of: plugin).supportedVersions, host: PluginHost(),
      stdin: { input })
  }
  _ = try? NetworkConfigurationList(parsing: input)
  _ = try? SubnetEnvironment(parsing: String(decoding: input, as: UTF8.self), file: "subnet.env")
  if let json = try? JSONValue(parsing: input) {
    for version in ["0.2.0", "0.4.0", "1.1.0"] {
      guard let v = try? CNIVersion(parsing: version) else { continue }
      _ = try? CNIResult(parsing: json, version: v)
    }
  }
}
