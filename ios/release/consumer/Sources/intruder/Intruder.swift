import Dormouse

// Each line must be an error: the generated code is not the app's to see.
let byItsType: ModelHandle? = nil
let byItsFunction = engineVersion()
let byItsError: Failure? = nil
let byTheHandle = { (model: Model) in model.handle }
