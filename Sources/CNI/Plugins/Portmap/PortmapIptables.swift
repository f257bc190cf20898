import NetTypes

struct PortmapIptables: ~Copyable {
  init(_ environment: PluginEnvironment) throws(CNIError) {}
  mutating func add(_ plans: [PortmapPlan]) throws(CNIError) {}
  mutating func remove(_ network: String, _ containerID: String, targets: Set<IPAddress>) throws(CNIError) -> [HostPort] { [] }
}
