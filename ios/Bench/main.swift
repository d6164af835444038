import Dormouse

print(Dormouse.version)
